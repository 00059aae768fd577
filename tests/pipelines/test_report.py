"""The report: its numbers add up, its lines hide nothing, its page is safe to open."""

import json
from html.parser import HTMLParser

import pytest

from pipelines.output.ledger import LANG_COUNTS
from pipelines.report.page import render_html
from pipelines.report.totals import build_report, summary_lines

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
    """Make a shard's record; `langs` has rows, tokens, and on need tokens cut off and unknown ones."""
    langs = [{"lang": lang, **dict(zip(LANG_COUNTS, (*counts, 0, 0), strict=False))} for lang, counts in langs.items()]
    rows_out, rejected = sum(lang["rows"] for lang in langs), sum((reasons or {}).values())
    return {
        "shard": shard,
        "part": f"part-{shard}.parquet",
        "file": "s3://corpus/news/a.parquet",
        "rows_read": rows_out + rejected + filtered,
        "rows_in": rows_out + rejected,
        "rows_out": rows_out,
        "rows_rejected": rejected,
        "rows_truncated": truncated,
        "tokens": sum(lang["tokens"] for lang in langs),
        "bytes": 1_500_000,
        "oom_halvings": halvings,
        "reasons": reasons or {},
        "langs": langs,
        "ids_digest": "0",
        "precision": "float32",
        "read_s": 0.5,
        "tokenize_s": 1.5,
        "infer_s": infer_s,
        "write_s": 0.25,
    }


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
    """Takes a page apart: its tags, and its text."""

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
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def text(html):
    return " ".join(" ".join(Page(html).text).split())


def test_the_numbers_are_sums_over_shards_and_add_up():
    report = build_report(job(), 3000, RECORDS, {}, 10.0, "complete")
    totals = report["totals"]
    assert totals["rows_corpus"] == totals["rows_out"] + totals["rows_rejected"] + totals["rows_filtered"]
    assert (totals["rows_out"], totals["rows_rejected"], totals["rows_filtered"]) == (1900, 100, 1000)
    assert (totals["rows_left"], totals["rows_truncated"], totals["bytes"]) == (0, 7, 3_000_000)
    assert report["reasons"] == {"empty_text": 80, "unknown_lang": 20}
    assert report["stage_seconds"] == {"read": 1.0, "tokenize": 3.0, "infer": 13.0, "write": 0.5}
    assert [shard["shard"] for shard in report["slowest"]] == ["b", "a"]
    assert report["run"] == {"elapsed_s": 10.0, "tokens": 200_000, "tokens_per_s": 20_000.0}


def test_memory_that_ran_out_is_told_with_what_spares_it():
    records = [*RECORDS, record("c", {"de": (1, 9)}, halvings=2)]
    report = build_report(job(), 3001, records, {}, 10.0, "complete")
    assert report["totals"]["oom_halvings"] == 2
    assert [line for line in summary_lines(report) if line.startswith("memory ran out 2 times")]
    assert "Memory ran out 2 times" in text(render_html(report))
    assert not [
        line for line in summary_lines(build_report(job(), 3000, RECORDS, {}, 1.0, "complete")) if "memory" in line
    ]


def test_languages_stand_as_in_the_data_sorted_by_rows():
    langs = build_report(job(), 3000, RECORDS, {}, 10.0, "complete")["langs"]
    assert langs == [
        {"lang": "fr", "rows": 700, "tokens": 83_000, "truncated": 350, "unknown": 30},
        {"lang": "de", "rows": 600, "tokens": 60_000, "truncated": 900, "unknown": 0},
        {"lang": "zh-Hans", "rows": 600, "tokens": 57_000, "truncated": 0, "unknown": 11_400},
    ]


def test_reasons_may_come_as_pairs_as_arrow_gives_maps():
    pairs = [{**r, "reasons": list(r["reasons"].items())} for r in RECORDS]
    assert build_report(job(), 3000, pairs, {}, 1.0, "complete") == build_report(
        job(), 3000, RECORDS, {}, 1.0, "complete"
    )


def test_the_speed_is_that_of_this_run_not_of_those_before():
    report = build_report(job(), 3000, RECORDS, {}, 10.0, "complete", run_tokens=107_000)
    assert (report["totals"]["tokens"], report["run"]["tokens_per_s"]) == (200_000, 10_700.0)
    assert "107,000 tokens in 10.0 s, 10,700 a second" in summary_lines(report)


def test_a_run_with_nothing_to_do_has_no_speed():
    report = build_report(job(), 3000, RECORDS, {}, 0.0, "complete")
    assert report["run"] == {"elapsed_s": 0.0, "tokens": 0, "tokens_per_s": 0.0}
    assert "200,000 tokens; this run had none to add" in summary_lines(report)


@pytest.mark.parametrize("num_failed", [1, 50, 51, 700])
def test_failed_shards_are_counted_and_the_first_are_named(num_failed):
    failed = {f"{i:05d}": f"error {i}" for i in range(num_failed)}
    report = build_report(job(), 9000, RECORDS, failed, 10.0, "failed shards")
    assert report["totals"]["failed_shards"] == num_failed == len(report["failed"]) + report["failed_not_shown"]
    assert len(report["failed"]) == min(50, num_failed)
    assert any("such as 00000: error 0" in line for line in summary_lines(report))


@pytest.mark.parametrize("status", ["complete", "failed shards", "too many rejected rows", "interrupted"])
@pytest.mark.parametrize("records", [RECORDS, []], ids=["some", "none"])
def test_every_ending_has_lines_and_a_page_and_is_json(status, records):
    failed = {"c": "OSError at write.py:7"} if status == "failed shards" else {}
    report = build_report(job(), 3000, records, failed, 10.0, status)
    assert json.loads(json.dumps(report)) == report
    lines = summary_lines(report)
    assert 4 <= len(lines) <= 8
    assert all(line == line.strip() and "\n" not in line for line in lines)
    assert f"news: {status}" in lines[0]
    html = render_html(report)
    assert status in text(html)
    assert Page(html).open == []


def test_lines_tell_all_that_did_not_go_through():
    report = build_report(job(), 4000, RECORDS, {"c": "no space left"}, 10.0, "failed shards")
    assert summary_lines(report) == [
        "news: failed shards, 2 shards done; 1,000 rows of the corpus still to do",
        "2,000 rows in = 1,900 out + 100 rejected (empty_text 80, unknown_lang 20)",
        "1,000 rows left out by input.filter",
        "7 rows truncated to 512 tokens: what follows in them was not seen",
        "3 languages: fr 700, de 600, zh-Hans 600",
        "1 failed shard, such as c: no space left",
        "200,000 tokens in 10.0 s, 20,000 a second",
        "s3://out/news (3.0 MB); report in s3://out/news/_xlm/report.html",
    ]


def test_the_page_tells_what_the_lines_tell():
    page = text(render_html(build_report(job(), 4000, RECORDS, {"c": "no space left"}, 10.0, "failed shards")))
    for told in ("1,900", "empty_text 80", "7 rows", "no space left", "zh-Hans 600", "name: news", "xlm:version"):
        assert told in page, told


def test_the_page_tells_what_the_vocabulary_lacks_and_what_was_cut_off_of_each_language():
    page = text(render_html(build_report(job(), 3000, RECORDS, {}, 10.0, "complete")))
    for row in (
        "language rows tokens unknown cut off rows, share",
        "fr 700 83,000 < 0.1 % 350 36.8 %",
        "de 600 60,000 0.0 % 900 31.6 %",
        "zh-Hans 600 57,000 20.0 % 0 31.6 %",
    ):
        assert row in page, row


def test_nothing_in_the_data_becomes_markup():
    records = [record(HOSTILE, {HOSTILE[:20]: (5, 50), '"><b>': (1, 1)}, {HOSTILE: 3})]
    report = build_report(job(name=HOSTILE, output={"path": HOSTILE}), 9, records, {HOSTILE: HOSTILE}, 1.0, HOSTILE)
    html = render_html(report)
    plain = render_html(
        build_report(job(), 9, [record("a", {"de": (5, 50), "fr": (1, 1)}, {"r": 3})], {"b": "c"}, 1.0, "s")
    )
    assert Page(html).tags == Page(plain).tags
    assert "<script" not in html
    assert HOSTILE in text(html)


def test_codes_written_from_right_to_left_do_not_turn_what_stands_beside_them():
    html = render_html(build_report(job(), 1, [record("a", {"\u202eעברית": (1, 9)})], {}, 1.0, "complete"))
    assert "<bdi>\u202eעברית</bdi>" in html


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    page = Page(render_html(build_report(job(), 4000, RECORDS, {"c": "x"}, 10.0, "failed shards")))
    assert not {"script", "link", "img", "iframe", "a"} & set(page.tags)
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in page.attributes}


def test_a_column_of_texts_named_as_lang_does_not_flood_the_page():
    texts = {f"{i} {'word ' * 1000}": (1, 9) for i in range(5000)}
    report = build_report(job(), 5000, [record("a", texts)], {}, 1.0, "complete")
    html = render_html(report)
    assert len(report["langs"]) == 5000
    assert len(html) < 150_000
    assert "And 4,700 more, with 4,700 rows" in text(html)
    assert max(map(len, summary_lines(report))) < 200
