"""The results of the stages, run one after another without Ray."""

import datetime
import decimal
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from pipelines.flow import PlanSource
from pipelines.job.job import Job
from pipelines.run.prepare import prepare_job
from pipelines.stages.tokenize import Tokenize
from pipelines.stages.write import discard
from pipelines.storage import locate
from tests.flow.in_process import build_infer, read_output, read_rejected, run_to_records

EMBED = ["feature-extraction"]


@pytest.fixture
def sentences(corpus) -> pa.Table:
    """120 sentences of mixed lengths and languages, except Japanese, which needs a segmenter."""
    rows = [row for row in corpus if row["lang"] != "ja"]
    random.Random(3).shuffle(rows)
    return pa.Table.from_pylist(rows[:120])


def results(job: Job) -> dict[str, dict[str, Any]]:
    run_to_records(job)
    return {row["id"]: row for row in read_output(job.output.path).to_pylist()}


@pytest.mark.parametrize("invariant", [False, True])
def test_result_of_a_row_does_not_depend_on_other_rows_or_batches(make_job, demo, sentences, tmp_path, invariant):
    """It does not depend on neighbours, token budget, shard size or order: within 2e-5, or bit for bit if invariant."""
    tasks = [
        "feature-extraction",
        {"text-classification": {"head": str(demo / "heads" / "topic"), "scores": True}},
        {"token-classification": {"head": str(demo / "heads" / "upos")}},
    ]
    shuffled = sentences.take(random.Random(5).sample(range(len(sentences)), len(sentences)))
    first: dict[str, dict[str, Any]] = {}
    for number, (table, rows_per_shard, max_tokens) in enumerate(
        [(sentences, 120, 4096), (sentences, 7, 4096), (sentences, 120, 40), (shuffled, 50, 700)]
    ):
        pq.write_table(table, tmp_path / f"in-{number}.parquet")
        job = make_job(
            input={"path": str(tmp_path / f"in-{number}.parquet"), "id": "id", "text": "text", "lang": "lang"},
            tasks=tasks,
            output={"path": str(tmp_path / f"out-{number}"), "rows_per_shard": rows_per_shard},
            batch={"max_tokens": max_tokens, "invariant": invariant},
        )
        found = results(job)
        first = first or found
        assert len(found) == 120
        assert found.keys() == first.keys()
        if invariant:
            assert found == first
            continue
        for row_id, row in first.items():
            other = found[row_id]
            assert np.abs(np.subtract(row["embedding"], other["embedding"])).max() <= 2e-5
            assert np.abs(np.subtract(row["scores"], other["scores"])).max() <= 2e-5
            assert [(w["text"], w["start"]) for w in row["words"]] == [(w["text"], w["start"]) for w in other["words"]]
            assert max(abs(a["score"] - b["score"]) for a, b in zip(row["words"], other["words"], strict=True)) <= 2e-5


def test_every_row_is_written_in_order_or_rejected(make_job, demo, tmp_path):
    job = make_job(input__filter=None)
    records = run_to_records(job)
    corpus = pa.concat_tables(pq.read_table(path) for path in sorted((demo / "corpus").glob("*.parquet")))
    rejected = read_rejected(job.output.path)
    found = read_output(job.output.path)["id"].to_pylist()
    gone = {row["id"] for row in rejected}
    by_shard = sorted(records, key=lambda record: (record.file, record.shard))
    assert sum(record.rows_out for record in by_shard) == len(found)
    in_corpus_order = [row_id for row_id in corpus["id"].to_pylist() if row_id not in gone]
    order = {row_id: i for i, row_id in enumerate(in_corpus_order)}
    assert sorted(found, key=order.__getitem__) == in_corpus_order
    for record in records:  # each part has the order of the input
        ids = pq.read_table(f"{job.output.path}/data/{record.part}")["id"].to_pylist()
        assert ids == sorted(ids, key=order.__getitem__)
    assert {row["id"]: row["reason"] for row in rejected} == {
        "bad-null": "null_text",
        "bad-empty": "empty_text",
        "bad-lang": "unknown_lang",
        "bad-no-lang": "null_lang",
        "bad-utf8": "invalid_utf8",
    }
    numbers = {row["id"]: (row["file"], row["row"]) for row in rejected}
    file = str(demo / "corpus" / "part-1.parquet")
    assert numbers["bad-null"] == (file, pq.read_table(file)["id"].to_pylist().index("bad-null"))


def test_spans_quote_the_text_at_their_offsets(make_job, demo, tmp_path):
    for aggregate, column in (("word", "words"), ("entity", "entities")):
        output = str(tmp_path / aggregate)
        job = make_job(
            tasks=[{"token-classification": {"head": str(demo / "heads" / "upos"), "aggregate": aggregate}}],
            input__keep=["text", "lang"],
            output__path=output,
        )
        run_to_records(job)
        rows = read_output(output).to_pylist()
        assert len({row["lang"] for row in rows}) == 18
        for row in rows:
            spans = row[column]
            assert spans
            assert all(row["text"][s["start"] : s["end"]] == s["text"] and s["text"].strip() for s in spans)
            assert [s["start"] for s in spans] == sorted(s["start"] for s in spans)
            assert all(0 < s["score"] <= 1 for s in spans)


def test_kept_columns_keep_their_types(make_job, sentences, tmp_path):
    count = len(sentences)
    point = pa.struct([("x", pa.float32()), ("tags", pa.list_(pa.string()))])
    columns = {
        "i8": pa.array([i % 100 for i in range(count)], pa.int8()),
        "money": pa.array([decimal.Decimal(i) / 4 for i in range(count)], pa.decimal128(12, 2)),
        "when": pa.array([datetime.datetime(2026, 1, 1)] * count, pa.timestamp("us", tz="Europe/Berlin")),
        "nothing": pa.nulls(count, pa.date32()),
        "color": pa.array([("red", "blue")[i % 2] for i in range(count)]).dictionary_encode(),
        "big": pa.array(["x" * i for i in range(count)], pa.large_string()),
        "point": pa.array([{"x": i, "tags": ["a"] * (i % 3)} if i % 5 else None for i in range(count)], point),
        "grid": pa.array([[[i], []] for i in range(count)], pa.list_(pa.list_(pa.int16()))),
        "fixed": pa.array([[i, i + 1] for i in range(count)], pa.list_(pa.uint8(), 2)),
        "map": pa.array([[("k", i)] for i in range(count)], pa.map_(pa.string(), pa.int64())),
        "raw": pa.array([bytes([i % 256]) for i in range(count)], pa.binary()),
    }
    for name, column in columns.items():
        sentences = sentences.append_column(name, column)
    pq.write_table(sentences, tmp_path / "in.parquet", row_group_size=50)
    source = pq.read_table(tmp_path / "in.parquet")
    job = make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang", "keep": list(columns)},
        tasks=EMBED,
        output__rows_per_shard=33,
    )
    run_to_records(job)
    found = read_output(job.output.path)
    assert found.schema.names == ["id", *columns, "embedding"]
    for name in columns:
        assert found.schema.field(name).type == source.schema.field(name).type
        assert found[name].to_pylist() == source[name].to_pylist()


def test_schema_of_a_part_does_not_depend_on_its_rows(make_job, tmp_path):
    """Shards whose rows are all rejected, or all dropped by the filter, have the same schema as any other."""
    table = pa.table(
        {"id": [1, 2, 3, 4], "text": ["fine", None, None, "too old"], "lang": ["en"] * 4, "y": [5, 5, 5, 1]}
    )
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=1, write_statistics=False)
    job = make_job(
        input={
            "path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang", "keep": ["lang"],
            "filter": "y > 1",
        },
        output__rows_per_shard=1,
    )  # fmt: skip
    records = run_to_records(job)
    assert [(r.rows_read, r.rows_in, r.rows_out, r.rows_rejected) for r in records] == [
        (1, 1, 1, 0), (1, 1, 0, 1), (1, 1, 0, 1), (1, 0, 0, 0),
    ]  # fmt: skip
    schemas = [pq.read_schema(f"{job.output.path}/data/{record.part}") for record in records]
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    assert schemas[0].names == ["id", "lang", "embedding", "label", "score", "words"]
    assert schemas[0].metadata[b"xlm:fingerprint"]


def test_part_that_is_written_again_has_the_same_bytes(make_job):
    job = make_job()
    parts = []
    for _ in range(2):
        records = run_to_records(job)
        parts.append({r.part: Path(job.output.path, "data", r.part).read_bytes() for r in records})
    assert parts[0] == parts[1]


def test_rows_without_an_id_are_identified_by_file_and_row(make_job, sentences, tmp_path):
    pq.write_table(sentences.slice(0, 60), tmp_path / "a.parquet", row_group_size=20)
    pq.write_table(sentences.slice(60), tmp_path / "b.parquet")
    spec = {"path": str(tmp_path / "?.parquet"), "text": "text", "lang": "lang", "keep": ["id"]}
    job = make_job(
        input=spec | {"filter": "topic != 'food'"},
        tasks=EMBED,
        output__rows_per_shard=15,
    )  # fmt: skip
    run_to_records(job)
    found = read_output(job.output.path)
    assert found.schema.names == ["file", "row", "id", "embedding"]
    for row in found.to_pylist():
        source = sentences.slice(0, 60) if row["file"].endswith("a.parquet") else sentences.slice(60)
        assert source["id"][row["row"]].as_py() == row["id"]
    assert len(found) == sum(topic != "food" for topic in sentences["topic"].to_pylist())


def test_pairs_are_encoded_together_and_spans_are_in_the_first_text(make_job, sentences, tmp_path, checkpoint):
    table = sentences.append_column("second", sentences["text"].take(list(range(len(sentences)))[::-1]))
    pq.write_table(table, tmp_path / "in.parquet")
    job = make_job(
        input={
            "path": str(tmp_path / "in.parquet"),
            "id": "id",
            "text": ["text", "second"],
            "lang": "lang",
            "keep": ["text"],
        }
    )
    records = run_to_records(job)
    from xlm_core import XLMTokenizer

    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    langs = table["lang"].to_pylist()
    encoding = tokenizer.encode_batch(
        table["text"].to_pylist(), langs, pairs=table["second"].to_pylist(), max_length=job.tokenizer.max_length
    )
    assert sum(record.tokens for record in records) == len(encoding.input_ids)
    for row in read_output(job.output.path).to_pylist():
        assert all(row["text"][w["start"] : w["end"]] == w["text"] for w in row["words"])


def test_any_fsspec_url_is_read_and_written(make_job, sentences, tmp_path):
    """`memory://` works here, but is refused as an output, because each process has its own memory file system."""
    sink = pa.BufferOutputStream()
    pq.write_table(sentences, sink)
    locate("memory://corpus/deep/in.parquet").put(sink.getvalue())
    spec = {"id": "id", "text": "text", "lang": "lang"}
    job = make_job(input=spec | {"path": "memory://corpus/**/*.parquet"}, tasks=EMBED)
    run_to_records(job)
    assert read_output(job.output.path)["id"].to_pylist() == sentences["id"].to_pylist()
    out = locate("memory://results/x")
    (out / "part-1.parquet").put(b"one")
    (out / "part-1.parquet").put(b"two")
    assert (out / "part-1.parquet").read_bytes() == b"two"
    assert [file.url for file in out.list()] == ["memory://results/x/part-1.parquet"]
    (out / "part-1.parquet").delete()
    assert not out.list()


def test_classification_writes_top_labels_and_all_scores(make_job, demo):
    job = make_job(
        tasks=[
            {"text-classification": {"head": str(demo / "heads" / "topic"), "top_k": 2, "scores": True, "prefix": "t_"}}
        ]
    )
    run_to_records(job)
    found = read_output(job.output.path)
    assert found.schema.names[-4:] == ["t_label", "t_score", "t_top", "t_scores"]
    for row in found.to_pylist():
        assert abs(sum(row["t_scores"]) - 1) < 1e-5
        assert row["t_top"][0] == {"label": row["t_label"], "score": row["t_score"]}
        assert [top["score"] for top in row["t_top"]] == sorted(row["t_scores"], reverse=True)[:2]


def test_unknown_language_is_rejected_or_neutral_but_never_english(make_job, tmp_path, checkpoint):
    table = pa.table(
        {"id": [1, 2], "text": ["qaStaH nuq, Dr. Qo'noS?", "qaStaH nuq, Dr. Qo'noS?"], "lang": ["tlh", "en"]}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    job = make_job(input=spec, tasks=EMBED, policy={"unknown_lang": "neutral"})
    assert run_to_records(job)[0].rows_out == 2
    neutral, english = read_output(job.output.path)["embedding"].to_pylist()
    assert neutral != english
    job = make_job(input=spec, tasks=EMBED, output__path=str(tmp_path / "out2"))
    assert run_to_records(job)[0].reasons == {"unknown_lang": 1}


def test_only_model_processes_load_torch(make_job):
    """A node has many tokenizer processes, and torch takes half of their start-up time and memory."""
    prepared = prepare_job(make_job())
    stages = prepared.stages
    source, tokenize = PlanSource(stages.read, prepared.plan.shards), Tokenize(stages.tokenize, {})
    tokens = tokenize(next(iter(source.get_read_tasks(1)[0]())))
    results = build_infer(stages)(tokens)
    program = """
import pickle, sys
source, settings, writers, tokens, results = pickle.load(sys.stdin.buffer)
from pipelines.stages.tokenize import Tokenize
assert Tokenize(settings, {})(next(iter(source.get_read_tasks(1)[0]())))["rows"].equals(tokens["rows"])
for write in writers:
    assert write(results)["failure"].to_pylist() == [None]
print("torch" in sys.modules)
"""
    given = cloudpickle.dumps((source, stages.tokenize, [stages.write, discard], tokens, results))
    assert (
        subprocess.run([sys.executable, "-c", program], input=given, stdout=subprocess.PIPE, check=True).stdout
        == b"False\n"
    )
