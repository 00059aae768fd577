"""The report's page shows how the run ended and everything that the summary shows, and is safe."""

import json

import pytest

from pipelines.report.html import render_or_explain
from pipelines.report.page import render_html
from pipelines.report.summary import summary_lines
from tests.pipelines.report.example_report import RECORDS, RUN, Page, job, record, report_of, text_of

HOSTILE = "<script>alert('x')</script>"

VERDICTS = {
    "complete": "Finished",
    "complete except for failed shards": "Finished, except for 1 failed shard",
    "failed shards": "Failed: errors in 1 shard",
    "storage failed": "Failed: storage errors",
    "too many rejected rows": "Failed: too many rejected rows",
    "interrupted": "Interrupted",
}


@pytest.mark.parametrize("status", VERDICTS)
@pytest.mark.parametrize("records", [RECORDS, []], ids=["some", "none"])
def test_every_status_has_a_summary_and_a_page_and_is_json(status, records):
    failed = {"c": "OSError at write.py:7"} if "fail" in status else {}
    report = report_of(job(), 3000, records, failed, RUN, status)
    assert json.loads(json.dumps(report)) == report
    lines = summary_lines(report)
    assert 4 <= len(lines) <= 8
    assert all(line == line.strip() and "\n" not in line for line in lines)
    assert f"news: {status}" in lines[0]
    html = render_html(report)
    assert text_of(html).count(VERDICTS[status]) == 2  # in the title, and first on the page
    assert Page(html).open == []


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (
            "complete",
            "Finished news ended on 2026-01-31 23:00 UTC . Every row of the corpus is written, rejected or dropped by "
            "the filter. next step Look at some results: xlm show 's3://out/my news/' "
            "results s3://out/my news/data rows written 1,900 ",
        ),
        (
            "interrupted",
            "Interrupted news ended on 2026-01-31 23:00 UTC . 1,000 rows of 4,000 are not processed yet. next step To "
            "resume, run the job again, which computes only what is missing: xlm run JOB results ",
        ),
        (
            "too many rejected rows",
            "Failed: too many rejected rows news ended on 2026-01-31 23:00 UTC . 100 rows rejected of 2,000 processed, "
            "and policy.max_rejected is 0.01: empty_text 80, unknown_lang 20; correct them, or accept as many with "
            "--set policy.max_rejected=0.05. next step Correct the rows or raise the limit, and run the job again, "
            "which computes only what is missing: xlm run JOB results ",
        ),
    ],
)
def test_page_begins_with_how_the_run_ended_and_what_to_do_next(status, shown):
    spec = job(output={"path": "s3://out/my news/"})
    report = report_of(spec, 3000 if status == "complete" else 4000, RECORDS, {}, RUN, status)
    title = f"news: {VERDICTS[status]} "
    assert text_of(render_html(report)).startswith(title + shown)


def test_page_shows_what_the_summary_shows():
    page = text_of(render_html(report_of(job(), 4000, RECORDS, {"c": "no space left"}, RUN, "failed shards")))
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
    page = text_of(render_html(report_of(job(), 3000, RECORDS, {}, RUN, "complete")))
    for row in (
        "language rows of written tokens per row unknown truncated",
        "fr 700 36.8 % 83,000 118.6 < 0.1 % 0.4 %",
        "de 600 31.6 % 60,000 100.0 0.0 % 1.5 %",
        "zh-Hans 600 31.6 % 57,000 95.0 20.0 % 0.0 %",
    ):
        assert row in page, row


def test_data_is_never_rendered_as_markup():
    records = [record(HOSTILE, {HOSTILE[:20]: (5, 50), '"><b>': (1, 1)}, {HOSTILE: 3})]
    report = report_of(job(name=HOSTILE, output={"path": HOSTILE}), 9, records, {HOSTILE: HOSTILE}, RUN, HOSTILE)
    html = render_html(report)
    plain = render_html(
        report_of(job(), 9, [record("a", {"de": (5, 50), "fr": (1, 1)}, {"r": 3})], {"b": "c"}, RUN, "s")
    )
    assert Page(html).tags == Page(plain).tags
    assert HOSTILE not in html
    assert HOSTILE in text_of(html)


def test_right_to_left_codes_do_not_change_the_direction_of_the_text_around_them():
    html = render_html(report_of(job(), 1, [record("a", {"\u202eעברית": (1, 9)})], {}, RUN, "complete"))
    assert "<bdi>\u202eעברית</bdi>" in html


def test_page_has_no_external_resources():
    page = Page(render_html(report_of(job(), 4000, RECORDS, {"c": "x"}, RUN, "failed shards")))
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert not {"src", "style", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")


def test_page_stays_small_if_the_language_column_contains_texts():
    texts = {f"{i} {'word ' * 1000}": (1, 9) for i in range(5000)}
    report = report_of(job(), 5000, [record("a", texts)], {}, RUN, "complete")
    html = render_html(report)
    assert len(report["langs"]) == 5000
    assert len(html) < 250_000
    assert "And 4,700 more with 4,700 rows" in text_of(html)
    assert max(map(len, summary_lines(report))) < 200


def test_error_of_the_page_does_not_keep_a_run_from_ending(caplog):
    report = report_of(job(), 3000, RECORDS, {}, RUN, "complete")
    assert render_or_explain(render_html, report) == render_html(report)
    del report["langs"]
    assert "report.json" in render_or_explain(render_html, report)
    assert "KeyError" in caplog.text
