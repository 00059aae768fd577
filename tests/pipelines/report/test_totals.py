"""The values of a report add up, and its summary names everything that did not succeed."""

from dataclasses import replace

import pytest

from pipelines.corpus.planned_shard import PlannedShard, plan_table
from pipelines.report.page import render_html
from pipelines.report.summary import summary_lines
from pipelines.report.timeline import Timeline
from tests.pipelines.corpus.shards import one_member
from tests.pipelines.report.example_report import IDLE, RECORDS, RUN, job, record, report_of, text_of


def test_totals_are_sums_over_shards_and_add_up():
    report = report_of(job(), 3000, RECORDS, {}, RUN, "complete")
    totals = report["totals"]
    assert totals["rows_corpus"] == totals["rows_out"] + totals["rows_rejected"] + totals["rows_filtered"]
    assert (totals["rows_out"], totals["rows_rejected"], totals["rows_filtered"]) == (1900, 100, 1000)
    assert (totals["rows_left"], totals["rows_truncated"], totals["bytes"]) == (0, 7, 3_000_000)
    assert report["reasons"] == {"empty_text": 80, "unknown_lang": 20}
    assert report["stage_seconds"] == {"read": 1.0, "tokenize": 3.0, "infer": 13.0, "write": 0.5}
    assert [shard["shard"] for shard in report["slowest"]] == ["b", "a"]
    times = {"started": "2026-01-31T23:00:00+00:00", "ended": "2026-01-31T23:00:10+00:00", "elapsed_s": 10.0}
    speed = {"tokens": 200_000, "tokens_per_s": 20_000.0, "busy": {}, "workers": {}}
    assert report["run"] == {**times, **speed, "timeline": Timeline().to_json()}


def test_out_of_memory_is_reported_with_advice():
    records = [*RECORDS, record("c", {"de": (1, 9)}, halvings=2)]
    report = report_of(job(), 3001, records, {}, RUN, "complete")
    assert report["totals"]["oom_halvings"] == 2
    assert [line for line in summary_lines(report) if line.startswith("out of memory 2 times")]
    assert "Out of memory 2 times" in text_of(render_html(report))
    assert not [
        line for line in summary_lines(report_of(job(), 3000, RECORDS, {}, RUN, "complete")) if "memory" in line
    ]


def test_languages_are_those_of_the_data_sorted_by_rows():
    langs = report_of(job(), 3000, RECORDS, {}, RUN, "complete")["langs"]
    assert [lang.pop("lengths") for lang in langs] == [[], [], []]  # as in records of earlier versions
    assert langs == [
        {"lang": "fr", "rows": 700, "tokens": 83_000, "truncated": 350, "unknown": 30},
        {"lang": "de", "rows": 600, "tokens": 60_000, "truncated": 900, "unknown": 0},
        {"lang": "zh-Hans", "rows": 600, "tokens": 57_000, "truncated": 0, "unknown": 11_400},
    ]


def test_speed_is_that_of_this_run_only():
    report = report_of(job(), 3000, RECORDS, {}, replace(RUN, tokens=107_000), "complete")
    assert (report["totals"]["tokens"], report["run"]["tokens_per_s"]) == (200_000, 10_700.0)
    assert "107,000 tokens in 10.0 s, 10,700 tokens/s" in summary_lines(report)


def test_run_without_work_has_no_speed():
    report = report_of(job(), 3000, RECORDS, {}, IDLE, "complete")
    assert report["run"]["tokens_per_s"] is None
    assert "200,000 tokens; none were computed by this run" in summary_lines(report)


@pytest.mark.parametrize("num_failed", [1, 50, 51, 700])
def test_failed_shards_are_counted_and_the_first_ones_named(num_failed):
    failed = {f"{i:05d}": f"error {i}" for i in range(num_failed)}
    report = report_of(job(), 9000, RECORDS, failed, RUN, "failed shards")
    assert report["totals"]["failed_shards"] == num_failed == len(report["failed"]) + report["failed_not_shown"]
    assert len(report["failed"]) == min(50, num_failed)
    assert any("such as 00000: error 0" in line for line in summary_lines(report))


def test_failed_shards_have_the_rows_of_their_file():
    b = one_member("b", 500, "/in.parquet", first_row=24, file_row=1024)
    others = [one_member("", 10, f"/{name}.parquet").members[0] for name in "defg"]
    shards = plan_table([one_member("a", 1000, "/in.parquet"), b, PlannedShard("c", tuple(others))])
    failed = {"b": "damaged", "c": "deleted"}
    report = report_of(job(), 9000, RECORDS, failed, RUN, "failed shards", shards=shards)
    assert report["failed"] == [
        {"shard": "b", "error": "damaged", "file": "/in.parquet", "num_files": 1, "rows": [1024, 1523]},
        {"shard": "c", "error": "deleted", "file": "/d.parquet", "num_files": 4},
    ]
    text = text_of(render_html(report))
    assert "b damaged /in.parquet , rows 1,024 to 1,523" in text
    assert "c deleted /d.parquet and 3 more files" in text


def test_summary_lists_everything_that_did_not_succeed():
    report = report_of(job(), 4000, RECORDS, {"c": "no space left"}, RUN, "failed shards")
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
