"""A report's job and records, and the text of its page."""

from html.parser import HTMLParser

from pipelines.output.ledger import add_up, to_table
from pipelines.report.totals import RunRecord, build_report
from pipelines.rows.shard_stats import LangCounts
from tests.pipelines.output.shard_records import make_record


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


def report_of(job, plan_rows, records, *args, **options):
    """Build the report of shards with these records."""
    return build_report(job, plan_rows, add_up([to_table(records, 0)]), *args, **options)


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
