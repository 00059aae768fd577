"""Outputs with given rows, written by the real write stage, and what `xlm show` prints for them."""

import io
import json
from collections import Counter

import pyarrow as pa
from rich.console import Console

from jobs.commands.output.show import show
from pipelines.corpus.planned_shard import plan_table
from pipelines.output.directory import Output
from pipelines.rows.rejection import REJECTED
from pipelines.rows.schemas import ROW
from pipelines.rows.shard import Shard
from pipelines.rows.shard_stats import LangCounts, ShardStats
from pipelines.rows.sources import Source
from pipelines.stages.write import Writer
from pipelines.storage import locate
from tests.pipelines.corpus.shards import one_member

SPAN = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
LABEL_SCORE = pa.struct(
    [pa.field("label", pa.string(), nullable=False), pa.field("score", pa.float32(), nullable=False)]
)
TOPICS = {"labels": json.dumps(["sport", "[red]news[/]", "c", "d", "e", "f", "g"])}
TAGS = {"labels": json.dumps(["DET", "NOUN"]), "offsets": "characters, end exclusive"}
TASKS = [
    {"feature-extraction": {}},
    {"text-classification": {"prefix": "topic_", "top_k": 1}},
    {"token-classification": {}},
    {"token-classification": {"prefix": "ner_", "aggregate": "entity"}},
]
SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("title", pa.string()),
        pa.field("embedding", pa.list_(pa.float32(), 8), metadata={"pooling": "mean", "normalized": "true"}),
        pa.field("topic_label", pa.string(), metadata=TOPICS),
        pa.field("topic_score", pa.float32(), metadata=TOPICS),
        pa.field("topic_top", pa.list_(LABEL_SCORE), metadata=TOPICS),
        pa.field("words", pa.list_(SPAN), metadata=TAGS),
        pa.field("ner_entities", pa.list_(SPAN), metadata=TAGS),
    ]
)
TEXTS = {"de": "Der Hund", "ar": "الكلب كبير", "ja": "犬 大きい"}


def span(label, text, score=0.984):
    return {"label": label, "score": score, "start": 0, "end": len(text), "text": text}


def make_row(i, lang, **changed):
    values = {
        ROW: i,
        "doc_id": f"{lang}-{i}",
        "lang": lang,
        "title": f"{TEXTS.get(lang, 'text')} {i}",
        "embedding": [0.6, -0.8, 0, 0, 0, 0, 0, 0],
        "topic_label": "[red]news[/]",
        "topic_score": 0.876,
        "topic_top": [{"label": "sport", "score": 0.5}],
        "words": [span("DET" if w in "Der" else "NOUN", w) for w in TEXTS.get(lang, "text").split()],
        "ner_entities": [span("LOC", "Berlin")],
    }
    return values | changed


class WrittenOutput:
    """An output directory, to which shards with given rows are added."""

    def __init__(self, url, *, keep=("lang", "title"), num_planned=2, schema=SCHEMA, tasks=TASKS):
        self.output = Output(locate(str(url)))
        self.url, self.keep = str(url), list(keep)
        source = {"path": "corpus", "id": "doc_id", "text": "text", "lang": "lang", "keep": self.keep}
        job = {"name": "t", "input": source, "tasks": tasks}
        plan = plan_table(one_member(str(i), 0) for i in range(num_planned))
        self.output.begin({"spec": job, "fingerprint": {}}, plan)
        self.schema = pa.schema([f for f in schema if f.name not in ("lang", "title") or f.name in self.keep])

    def add(self, shard, rows, rejected=(), *, truncated=0):
        num_rows = Counter(entry["lang"] for entry in rows)
        batch = pa.RecordBatch.from_pylist(rows, pa.schema([*self.schema, pa.field(ROW, pa.int64())]))
        stats = ShardStats(
            (Source(f"/corpus/2024/news/{shard}.parquet", 0, 1_000_000),),
            rows_in=len(rows) + len(rejected),
            rows_truncated=truncated,
            langs=tuple(LangCounts(lang, rows, 10 * rows, 0, 0) for lang, rows in num_rows.items()),
            precision="float32",
        )
        rejected_rows = pa.RecordBatch.from_pylist([{"detail": "", **r} for r in rejected], REJECTED)
        writer = Writer(output=self.output.location, schema=self.schema, id_column="doc_id")
        self.output.ledger.append([writer.write(Shard(shard_id(shard), batch, stats, rejected_rows))])

    def show(self, limit=10, **console):
        return show_output(self.url, limit, **console)

    def show_lines(self, limit=10, **console):
        return collapse_spaces(self.show(limit, **console))


def shard_id(letter):
    return f"{ord(letter):016x}-00000-000000000"


def show_output(url, limit=10, **console):
    file = io.StringIO()
    show(url, limit, Console(file=file, **({"width": 100} | console)))
    return file.getvalue()


def collapse_spaces(text):
    return [" ".join(line.split()) for line in text.splitlines()]
