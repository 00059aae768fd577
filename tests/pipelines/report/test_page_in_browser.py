"""The report's page in a real browser: it draws its charts, loads nothing, and runs nothing that is in the data."""

import json
import re
import shutil
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from pipelines.output.ledger import add_up, to_table
from pipelines.report import RunRecord, Timeline, build_report, render_html, summary_lines
from pipelines.report.sample import Sample
from pipelines.report.statistics import summarize
from pipelines.rows import NUM_LENGTH_BINS, LangCounts
from pipelines.tasks import FeatureExtraction, TextClassification
from pipelines.train.reporting.page import render_training
from tests.pipelines.output.shard_records import make_record
from tests.pipelines.train.reporting.example_training import make_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 800}}
DATA_WITH_MARKUP = (
    "</script><script>attack()</script>",
    "<img src=x onerror=attack()>",
    "\"'><svg onload=attack()>",
    "{{ 7 * 7 }}{% raw %}",
    "{a|b}<!--",
)
PLAIN = ("en", "de", "zh", "sw", "ar")


def report_of(names, *, failed=None, status="complete", run_tokens=32_800):
    """Build a report of a job whose labels, languages, reasons and errors are these five names."""
    records, timeline = [], Timeline()
    for i in range(40):
        bins = tuple(i + 1 if j == 5 else 0 for j in range(NUM_LENGTH_BINS))
        lang = LangCounts(names[i % 5], i + 1, 40 * (i + 1), 3, 5, bins)
        times = {"read_s": 0.1, "identify_s": 0.2, "tokenize_s": 0.5, "infer_s": 0.8, "write_s": 0.1}
        counts = {"rows_read": i + 4, "rows_in": i + 2, "rows_out": i + 1, "rows_rejected": 1, "tokens": 40 * (i + 1)}
        rejected = {"reasons": {names[0]: 1}, "rejected_langs": {names[1]: 1}}
        records.append(make_record(i, file=f"/{names[2]}", langs=(lang,), **times, **counts, **rejected))
        timeline.add(i, records[-1])
    rng, num = np.random.default_rng(0), 500
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=8 * num).astype(np.float32)), 8)
    labels = pa.array([names[i % 3] for i in range(num)])
    scores = pa.array(rng.random(num).astype(np.float32))
    langs = pa.array([names[i % 5] for i in range(num)])
    rows = pa.table({"embedding": vectors, "label": labels, "score": scores, "lang": langs}).combine_chunks()
    statistics = summarize(Sample(rows, 40), [FeatureExtraction(), TextClassification()], "lang")
    spec = {
        "name": names[0],
        "model": {"checkpoint": names[1]},
        "tokenizer": {"max_length": 512},
        "output": {"path": f"/out/{names[2]}"},
        "policy": {"max_rejected": 1.0, "max_failed_shards": 0},
    }
    job = {"spec": spec, "metadata": {"xlm:version": names[3]}, "segmenters": {names[4]: names[0]}}
    num_rows = sum(record.rows_read for record in records) + (100 if failed else 0)
    return build_report(
        job,
        num_rows,
        add_up([to_table(records, 0)]),
        failed or {},
        RunRecord(1_769_900_400.0, 1_769_900_440.0, run_tokens, timeline, {"tokenize": 1, "infer": 1}),
        status,
        statistics=statistics,
    )


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A report that is open in the browser, without a network, and everything that its page printed or requested."""

    def __init__(self, browser, folder, report, size="desktop", scheme="light", *, scripts=True, render=render_html):
        file = folder / "report.html"
        file.write_text(render(report), encoding="utf-8")
        context = browser.new_context(
            viewport=SIZES[size], color_scheme=scheme, java_script_enabled=scripts, offline=True
        )
        self.page = context.new_page()
        self.printed, self.requested = [], []
        self.page.on("console", lambda message: self.printed.append(message.text))
        self.page.on("pageerror", lambda error: self.printed.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(file.as_uri())
        self.url = file.as_uri()

    def text(self):
        return " ".join(self.page.locator("main").inner_text().split())

    def is_wider_than_the_window(self):
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")

    def picture(self, chart):
        """Return what is drawn in a chart."""
        return self.page.locator(f"figure[data-chart={chart}] canvas").evaluate("canvas => canvas.toDataURL()")

    def num_drawn(self):
        """Count the charts with something in them."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll("figure.chart")].filter((figure) => {
                const canvas = figure.querySelector("canvas");
                if (!canvas || !canvas.width) return false;
                const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                return pixels.some((value) => value > 0);
            }).length"""
        )


NUM_CHARTS = 6  # lengths, speed, speed by stage, embedding, label, score


@pytest.mark.parametrize(("size", "scheme"), list(product(SIZES, ("light", "dark"))))
def test_charts_are_drawn_and_nothing_is_requested_or_too_wide(browser, tmp_path, size, scheme):
    failed = {f"{i:016x}-00000-000000000": "OSError at read.py:7 " + "word " * 40 for i in range(3)}
    opened = Opened(browser, tmp_path, report_of(PLAIN, failed=failed, status="failed shards"), size, scheme)
    assert opened.num_drawn() == NUM_CHARTS
    assert opened.printed == []
    assert opened.requested == [opened.url]
    assert not opened.is_wider_than_the_window()
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", background)[:3])) < 384
    assert is_dark == (scheme == "dark")


@pytest.mark.parametrize("size", SIZES)
def test_markup_in_labels_languages_names_and_errors_is_text(browser, tmp_path, size):
    names = DATA_WITH_MARKUP
    failed = {names[1]: names[2]}
    opened = Opened(browser, tmp_path, report_of(names, failed=failed, status="failed shards"), size)
    assert opened.printed == []  # the policy would report what it blocks; an attack would not be defined
    assert opened.requested == [opened.url]
    assert opened.num_drawn() == NUM_CHARTS
    assert opened.page.locator("main img, main script, svg[onload]").count() == 0
    text = opened.text()
    assert all(name in text for name in names)
    opened.page.locator("select").last.select_option(index=2)  # the histogram of one language
    for figure in opened.page.locator("figure").all():
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        for share in (0.3, 0.5, 0.7):  # the tooltips quote labels
            opened.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.6 * box["height"])
    assert opened.printed == []
    assert not opened.is_wider_than_the_window()


def test_page_is_complete_without_javascript(browser, tmp_path):
    with_scripts = Opened(browser, tmp_path, report_of(PLAIN))
    without = Opened(browser, tmp_path, report_of(PLAIN), scripts=False)
    shown = "main > :not(nav) :is(td, th, dd, h2, p)"
    assert without.page.locator(shown).all_text_contents() == with_scripts.page.locator(shown).all_text_contents()
    assert not without.page.locator("figure:visible").count()


def test_numbers_are_those_of_the_report_and_the_summary(browser, tmp_path):
    report = report_of(PLAIN, run_tokens=9_999)
    opened = Opened(browser, tmp_path, report)
    text = opened.text()
    for line in summary_lines(report)[:-1]:
        for number in re.findall(r"\d[\d,.]*\d|\d", line):
            assert number in text, f"{number} of: {line}"
    cells = {row[0]: row[1:] for row in _rows(opened, "#languages table >> nth=0")}
    for lang in report["langs"]:
        assert cells[lang["lang"]][0] == f"{lang['rows']:,}"
        assert cells[lang["lang"]][2] == f"{lang['tokens']:,}"
    label = next(column for column in report["statistics"]["columns"] if column["name"] == "label")
    shown = {row[0]: row[1] for row in _rows(opened, "#results table >> nth=0")}
    assert shown == {name: f"{n:,}" for name, n in zip(label["labels"], label["counts"][""], strict=True)}
    rejected = report["totals"]["rows_rejected"]
    share = f"{100 * rejected / report['totals']['rows_corpus']:.1f} %"
    assert opened.page.locator("#rows .legend div").nth(1).text_content().split() == [
        "rejected",
        str(rejected),
        *share.split(),
    ]
    assert _rows(opened, "#rows table >> nth=0")[0][-3:-1] == [str(rejected), share]
    drawn = json.loads(opened.page.locator("#charts").text_content())
    assert drawn["statistics"] == report["statistics"]["columns"]
    assert sum(drawn["lengths"]["counts"][""]) == report["totals"]["rows_out"]


@pytest.mark.parametrize("size", SIZES)
def test_legend_shows_every_series_and_hides_those_that_are_clicked(browser, tmp_path, size):
    opened = Opened(browser, tmp_path, report_of(PLAIN), size)
    legend = opened.page.locator("figure[data-chart=vectors] button")
    assert legend.all_text_contents() == sorted(PLAIN)  # each has 100 rows
    edge = opened.page.viewport_size["width"]
    assert all(0 < box["x"] < box["x"] + box["width"] < edge for box in (key.bounding_box() for key in legend.all()))
    colors = [key.evaluate("e => e.firstChild.style.backgroundColor") for key in legend.all()]
    assert len(set(colors)) == len(PLAIN)
    before = opened.picture("vectors")
    legend.nth(1).click()
    assert [key.get_attribute("aria-pressed") for key in legend.all()] == ["true", "false", "true", "true", "true"]
    without = opened.picture("vectors")
    assert without != before
    legend.nth(1).press("Enter")
    assert opened.picture("vectors") != without
    legend.nth(1).press("Enter")
    assert opened.picture("vectors") == without


@pytest.mark.parametrize(("size", "label"), list(product(SIZES, DATA_WITH_MARKUP)))
def test_page_of_a_training_draws_its_curves_and_runs_nothing_in_the_data(browser, tmp_path, size, label):
    report = make_report(120, "failed", label=label, error=label)
    opened = Opened(browser, tmp_path, report, size, render=render_training)
    assert opened.num_drawn() == 6  # losses of two objectives, accuracy, learning rate, gradient, speed
    assert opened.printed == []
    assert opened.requested == [opened.url]
    assert not opened.is_wider_than_the_window()
    assert label in opened.text()
    assert opened.page.locator("main img, main script, svg[onload]").count() == 0


def test_run_that_added_nothing_has_no_speed(browser, tmp_path):
    text = Opened(browser, tmp_path, report_of(PLAIN, run_tokens=0)).text()
    assert "tokens per second none this run added no tokens" in text


def _rows(opened, table):
    rows = opened.page.locator(f"{table} >> tbody tr").all()
    return [[" ".join(cell.split()) for cell in row.locator("td").all_text_contents()] for row in rows]
