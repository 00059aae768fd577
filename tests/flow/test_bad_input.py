"""Bad input that needs more than one file or run; `tests/chaos/bad_input/catalogue.py` has all other kinds."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.bad_input.outcomes import Refused
from tests.chaos.bad_input.trial_job import GOOD_ROWS
from tests.flow.in_process import read_output, read_rejected, run_to_records


def test_message_names_damaged_files_and_no_good_one(demo, tmp_path):
    def add_damaged_files(job):
        for i in range(30):
            (job.corpus / f"bad{i:02d}.parquet").write_bytes(b"PAR1 and then nothing")

    kind = Refused("damaged files and a good one", add_damaged_files, "bad00.parquet: a damaged or truncated")
    message = kind.check(tmp_path, demo)
    assert [f"bad{i:02d}.parquet" in message for i in range(30)] == [True] * 20 + [False] * 10
    assert "and 10 more" in message
    assert "a.parquet" not in message


def test_file_names_may_contain_glob_characters(make_job, tmp_path):
    folder = tmp_path / "dir [v1]"
    folder.mkdir()
    pq.write_table(GOOD_ROWS, folder / "br[1].parquet")
    for i, path in enumerate((folder, folder / "*.parquet", folder / "br[1].parquet")):
        spec = {"path": str(path), "id": "id", "text": "text", "lang": "lang"}
        (record,) = run_to_records(
            make_job(input=spec, tasks=["feature-extraction"], output__path=str(tmp_path / f"{i}"))
        )
        assert record.rows_out == 2


def test_files_of_one_corpus_may_differ_in_nullability_and_string_types(make_job, tmp_path):
    texts = {"a": ["one", "two"], "b": ["three", None], "c": ["four", "five"], "d": ["six", None], "e": ["seven", "x"]}
    kinds = {
        "a": pa.string(), "b": pa.string(), "c": pa.large_string(), "d": pa.string_view(),
        "e": pa.dictionary(pa.int32(), pa.string()),
    }  # fmt: skip
    for name, kind in kinds.items():
        text = pa.array(texts[name], pa.string()).cast(kind)
        lang = pa.array(["en", "de"], pa.string()).cast(kind)
        ids = pa.array([2**63 + ord(name), ord(name)], pa.uint64())
        schema = pa.schema([pa.field("id", pa.uint64()), pa.field("text", kind, name != "a"), ("lang", kind)])
        pq.write_table(pa.table([ids, text, lang], schema=schema), tmp_path / f"{name}.parquet")
    spec = {"path": str(tmp_path / "?.parquet"), "id": "id", "text": "text", "lang": "lang", "filter": "id > 98"}
    job = make_job(input=spec, tasks=["feature-extraction"], policy={"duplicate_ids": "reject"})
    (record,) = run_to_records(job)
    assert record.num_files == 5
    found = read_output(job.output.path)["id"].to_pylist()
    assert sorted(found) == sorted([99, 101, *(2**63 + ord(name) for name in "abcde")])
    assert [row["reason"] for row in read_rejected(job.output.path)] == ["null_text"]


def test_rows_that_repeat_an_id_are_rejected(make_job, tmp_path):
    """The first row in the plan's order is kept, across shards, row groups and files."""
    pq.write_table(pa.concat_tables([GOOD_ROWS, GOOD_ROWS]), tmp_path / "a.parquet", row_group_size=3)
    pq.write_table(GOOD_ROWS, tmp_path / "b.parquet")
    job = make_job(
        input={"path": str(tmp_path / "?.parquet"), "id": "id", "text": "text", "lang": "lang"},
        policy={"duplicate_ids": "reject"},
        tasks=["feature-extraction"],
        output__rows_per_shard=2,
    )
    run_to_records(job)
    assert read_output(job.output.path)["id"].to_pylist() == ["a", "b"]
    rejected = read_rejected(job.output.path)
    assert sorted((Path(r["file"]).name, r["row"], r["id"], r["reason"]) for r in rejected) == [
        ("a.parquet", 2, "a", "duplicate_id"),
        ("a.parquet", 3, "b", "duplicate_id"),
        ("b.parquet", 0, "a", "duplicate_id"),
        ("b.parquet", 1, "b", "duplicate_id"),
    ]


def test_rows_with_too_many_tokens_are_truncated_or_rejected(make_job, tmp_path):
    table = pa.table({"id": ["short", "long"], "text": ["One.", "many words " * 200], "lang": ["en", "en"]})
    pq.write_table(table, tmp_path / "in.parquet")
    spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    job = make_job(input=spec, tasks=["feature-extraction"])
    (record,) = run_to_records(job)
    assert (record.rows_out, record.rows_truncated) == (2, 1)
    job = make_job(
        input=spec, tasks=["feature-extraction"], tokenizer__on_overflow="reject", output__path=str(tmp_path / "2")
    )
    (record,) = run_to_records(job)
    assert (record.rows_out, record.rows_truncated, record.reasons) == (1, 0, {"too_many_tokens": 1})
