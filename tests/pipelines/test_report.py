"""The report: its totals add up, summary and page show everything that did not succeed, and the page is safe."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipelines.corpus.planned_shard import PlannedShard, plan_table
from pipelines.report.page import render_html, render_or_explain
from pipelines.report.summary import summary_lines
from pipelines.report.timeline import Timeline
from pipelines.report.totals import RunRecord, build_report
from pipelines.rows.shard_stats import LangCounts
from tests.pipelines.output.shard_records import make_record

HOSTILE = "<script>alert('x')</script>"


def job(**spec):
    return {
        "spec": {
            "name": "news",
            "input": {"path": "s3://corpus/news", "filter": None},
            "tokenizer": {"max_length": 512},
            "output": {"path": "s3://out/news/"},
            "policy": {"max_rejected": 0.01, "max_failed_shards": 0},
            **spec,
        },
        "fingerprint": {"format": 1, "checkpoint": "abc"},
        "metadata": {"xlm:version": "0.1.0"},
    }


def record(shard, langs, reasons=None, *, filtered=0, truncated=0, halvings=0, infer_s=4.0):
    """Make a shard's record; `langs` has rows, tokens and, if needed, truncated and unknown tokens by language."""
    counts = tuple(LangCounts(lang, *numbers, *[0] * (4 - len(numbers))) for lang, numbers in langs.items())
    rows_out, rejected = sum(lang.rows for lang in counts), sum((reasons or {}).values())
    return make_record(
        0,
        shard=shard,
        file="s3://corpus/news/a.parquet",
        rows_read=rows_out + rejected + filtered,
        rows_in=rows_out + rejected,
        rows_out=rows_out,
        rows_rejected=rejected,
        rows_truncated=truncated,
        tokens=sum(lang.tokens for lang in counts),
        bytes=1_500_000,
        oom_halvings=halvings,
        reasons=reasons or {},
        rejected_langs={},
        langs=counts,
        read_s=0.5,
        tokenize_s=1.5,
        infer_s=infer_s,
        write_s=0.25,
    )


RUN = RunRecord(1_769_900_400.0, 1_769_900_410.0, tokens=200_000)
IDLE = RunRecord(1_769_900_400.0, 1_769_900_400.0)
RECORDS = [
    record(
        "a",
        {"de": (600, 60_000, 900), "fr": (300, 33_000, 350, 30)},
        {"empty_text": 80, "unknown_lang": 20},
        truncated=7,
    ),
    record("b", {"fr": (400, 50_000), "zh-Hans": (600, 57_000, 0, 11_400)}, filtered=1000, infer_s=9.0),
]


class Page(HTMLParser):
    """Parses a page into its tags and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


def text_of(html):
    return " ".join(" ".join(Page(html).text).split())


def test_totals_are_sums_over_shards_and_add_up():
    report = build_report(job(), 3000, RECORDS, {}, RUN, "complete")
    totals = report["totals"]
    assert totals["rows_corpus"] == totals["rows_out"] + totals["rows_rejected"] + totals["rows_filtered"]
    assert (totals["rows_out"], totals["rows_rejected"], totals["rows_filtered"]) == (1900, 100, 1000)
    assert (totals["rows_left"], totals["rows_truncated"], totals["bytes"]) == (0, 7, 3_000_000)
    assert report["reasons"] == {"empty_text": 80, "unknown_lang": 20}
    assert report["stage_seconds"] == {"read": 1.0, "tokenize": 3.0, "infer": 13.0, "write": 0.5}
    assert [shard["shard"] for shard in report["slowest"]] == ["b", "a"]
    times = {"started": "2026-01-31T23:00:00+00:00", "ended": "2026-01-31T23:00:10+00:00", "elapsed_s": 10.0}
    speed = {"tokens": 200_000, "tokens_per_s": 20_000.0, "busy": {}}
    assert report["run"] == {**times, **speed, "timeline": Timeline().to_json()}


def test_out_of_memory_is_reported_with_advice():
    records = [*RECORDS, record("c", {"de": (1, 9)}, halvings=2)]
    report = build_report(job(), 3001, records, {}, RUN, "complete")
    assert report["totals"]["oom_halvings"] == 2
    assert [line for line in summary_lines(report) if line.startswith("out of memory 2 times")]
    assert "Out of memory 2 times" in text_of(render_html(report))
    assert not [
        line for line in summary_lines(build_report(job(), 3000, RECORDS, {}, RUN, "complete")) if "memory" in line
    ]


def test_languages_are_those_of_the_data_sorted_by_rows():
    langs = build_report(job(), 3000, RECORDS, {}, RUN, "complete")["langs"]
    assert [lang.pop("lengths") for lang in langs] == [[], [], []]  # as in records of earlier versions
    assert langs == [
        {"lang": "fr", "rows": 700, "tokens": 83_000, "truncated": 350, "unknown": 30},
        {"lang": "de", "rows": 600, "tokens": 60_000, "truncated": 900, "unknown": 0},
        {"lang": "zh-Hans", "rows": 600, "tokens": 57_000, "truncated": 0, "unknown": 11_400},
    ]


def test_speed_is_that_of_this_run_only():
    report = build_report(job(), 3000, RECORDS, {}, replace(RUN, tokens=107_000), "complete")
    assert (report["totals"]["tokens"], report["run"]["tokens_per_s"]) == (200_000, 10_700.0)
    assert "107,000 tokens in 10.0 s, 10,700 tokens/s" in summary_lines(report)


def test_run_without_work_has_no_speed():
    report = build_report(job(), 3000, RECORDS, {}, IDLE, "complete")
    assert report["run"]["tokens_per_s"] is None
    assert "200,000 tokens; none were added by this run" in summary_lines(report)


@pytest.mark.parametrize("num_failed", [1, 50, 51, 700])
def test_failed_shards_are_counted_and_the_first_ones_named(num_failed):
    failed = {f"{i:05d}": f"error {i}" for i in range(num_failed)}
    report = build_report(job(), 9000, RECORDS, failed, RUN, "failed shards")
    assert report["totals"]["failed_shards"] == num_failed == len(report["failed"]) + report["failed_not_shown"]
    assert len(report["failed"]) == min(50, num_failed)
    assert any("such as 00000: error 0" in line for line in summary_lines(report))


def test_failed_shards_have_the_rows_of_their_file():
    shards = [
        PlannedShard("a", "/in.parquet", 9, 9, 0, 0, 0, 1000),
        PlannedShard("b", "/in.parquet", 9, 9, 1, 24, 1024, 500),
    ]
    report = build_report(job(), 9000, RECORDS, {"b": "damaged"}, RUN, "failed shards", shards=plan_table(shards))
    assert report["failed"] == [{"shard": "b", "error": "damaged", "file": "/in.parquet", "rows": [1024, 1523]}]
    assert "b damaged /in.parquet , rows 1,024 to 1,523" in text_of(render_html(report))


@pytest.mark.parametrize("status", ["complete", "failed shards", "too many rejected rows", "interrupted"])
@pytest.mark.parametrize("records", [RECORDS, []], ids=["some", "none"])
def test_every_status_has_a_summary_and_a_page_and_is_json(status, records):
    failed = {"c": "OSError at write.py:7"} if status == "failed shards" else {}
    report = build_report(job(), 3000, records, failed, RUN, status)
    assert json.loads(json.dumps(report)) == report
    lines = summary_lines(report)
    assert 4 <= len(lines) <= 8
    assert all(line == line.strip() and "\n" not in line for line in lines)
    assert f"news: {status}" in lines[0]
    html = render_html(report)
    assert status in text_of(html)
    assert Page(html).open == []


def test_summary_lists_everything_that_did_not_succeed():
    report = build_report(job(), 4000, RECORDS, {"c": "no space left"}, RUN, "failed shards")
    assert summary_lines(report) == [
        "news: failed shards, 2 shards done; 1,000 rows of the corpus not processed yet",
        "2,000 rows in = 1,900 out + 100 rejected (empty_text 80, unknown_lang 20)",
        "1,000 rows dropped by input.filter",
        "7 rows truncated to 512 tokens; the model did not see the rest of their text",
        "3 languages: fr 700, de 600, zh-Hans 600",
        "1 failed shard, such as c: no space left",
        "200,000 tokens in 10.0 s, 20,000 tokens/s",
        "results in s3://out/news/data (3.0 MB); report in s3://out/news/_xlm/report.html",
    ]


def test_page_shows_what_the_summary_shows():
    page = text_of(render_html(build_report(job(), 4000, RECORDS, {"c": "no space left"}, RUN, "failed shards")))
    for expected in (
        "1,900",
        "empty_text the text is empty, or only spaces 80 2.0 %",
        "7 rows",
        "no space left",
        "zh-Hans 600",
        "rejected 100 2.5 %",
        "name: news",
        "xlm:version",
    ):
        assert expected in page, expected


def test_page_shows_unknown_and_truncated_tokens_of_each_language():
    page = text_of(render_html(build_report(job(), 3000, RECORDS, {}, RUN, "complete")))
    for row in (
        "language rows of written tokens per row unknown truncated",
        "fr 700 36.8 % 83,000 118.6 < 0.1 % 0.4 %",
        "de 600 31.6 % 60,000 100.0 0.0 % 1.5 %",
        "zh-Hans 600 31.6 % 57,000 95.0 20.0 % 0.0 %",
    ):
        assert row in page, row


def test_data_is_never_rendered_as_markup():
    records = [record(HOSTILE, {HOSTILE[:20]: (5, 50), '"><b>': (1, 1)}, {HOSTILE: 3})]
    report = build_report(job(name=HOSTILE, output={"path": HOSTILE}), 9, records, {HOSTILE: HOSTILE}, RUN, HOSTILE)
    html = render_html(report)
    plain = render_html(
        build_report(job(), 9, [record("a", {"de": (5, 50), "fr": (1, 1)}, {"r": 3})], {"b": "c"}, RUN, "s")
    )
    assert Page(html).tags == Page(plain).tags
    assert HOSTILE not in html
    assert HOSTILE in text_of(html)


def test_right_to_left_codes_do_not_change_the_direction_of_the_text_around_them():
    html = render_html(build_report(job(), 1, [record("a", {"\u202eעברית": (1, 9)})], {}, RUN, "complete"))
    assert "<bdi>\u202eעברית</bdi>" in html


def test_page_has_no_external_resources():
    page = Page(render_html(build_report(job(), 4000, RECORDS, {"c": "x"}, RUN, "failed shards")))
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert not {"src", "style", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")


def test_page_stays_small_if_the_language_column_contains_texts():
    texts = {f"{i} {'word ' * 1000}": (1, 9) for i in range(5000)}
    report = build_report(job(), 5000, [record("a", texts)], {}, RUN, "complete")
    html = render_html(report)
    assert len(report["langs"]) == 5000
    assert len(html) < 250_000
    assert "And 4,700 more with 4,700 rows" in text_of(html)
    assert max(map(len, summary_lines(report))) < 200


def test_error_of_the_page_does_not_keep_a_run_from_ending(caplog):
    report = build_report(job(), 3000, RECORDS, {}, RUN, "complete")
    assert render_or_explain(report) == render_html(report)
    del report["langs"]
    assert "report.json" in render_or_explain(report)
    assert "KeyError" in caplog.text
