"""Later runs of a job compute what is missing or stale in the output, and nothing else."""

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.planned_shard import planned_shards
from pipelines.errors import FatalError
from pipelines.run.execute import run
from tests.flow.in_process import read_rejected
from tests.flow.run.outputs import ledger_records, modification_times, printed, quiet_console, result_digests
from tests.plans import make_plan


def test_added_changed_and_deleted_files(undisturbed, make_job, demo, tmp_path, in_process):
    """Only new and changed files are computed. Parts of changed and deleted files are removed, with a message."""
    corpus = tmp_path / "corpus"
    shutil.copytree(demo / "corpus", corpus)
    job = make_job(input__path=str(corpus), tasks=["feature-extraction"])
    out = Path(job.output.path)
    run(job, quiet_console())
    first = modification_times(out)

    pq.write_table(pq.read_table(corpus / "part-1.parquet").slice(0, 9), corpus / "added.parquet")
    added = pq.read_table(corpus / "added.parquet")
    ids = pa.array([f"new-{i}" for i in range(len(added))])
    pq.write_table(added.set_column(0, "id", ids), corpus / "added.parquet")
    run(job, quiet_console())
    second = modification_times(out)
    parts = {path for path in first if path.startswith("data/")}
    assert {path: second[path] for path in parts} == {path: first[path] for path in parts}
    assert sum(path.startswith("data/") for path in second) == len(parts) + 1
    assert (out / "_SUCCESS").exists()

    (corpus / "part-2.parquet").unlink()
    pq.write_table(pq.read_table(corpus / "part-1.parquet").slice(0, 100), corpus / "part-1.parquet")
    before = modification_times(out)
    with pytest.raises(
        FatalError, match=r"the results of 365 of 374 rows would be removed.*; if that is right, set policy.max_removed"
    ):
        run(job, quiet_console())  # an input that is not mounted looks the same
    assert modification_times(out) == before
    console = quiet_console()
    run(make_job(input__path=str(corpus), tasks=["feature-extraction"], policy={"max_removed": 1.0}), console)
    assert "removing 6 parts of files that changed or were deleted" in printed(console)
    expected = ds.dataset(corpus).to_table(filter=ds.field("year") >= 2020)
    rejected = {row["id"] for row in read_rejected(str(out))}
    found = ds.dataset(out / "data").to_table()["id"].to_pylist()
    assert sorted(found) == sorted(row_id for row_id in expected["id"].to_pylist() if row_id not in rejected)
    assert rejected == {"bad-null"}


def test_file_that_changes_after_planning_fails_only_its_shards(make_job, demo, tmp_path, in_process, monkeypatch):
    corpus = tmp_path / "corpus"
    shutil.copytree(demo / "corpus", corpus)
    # With fewer allowed, the run might end before the third shard fails.
    policy = {"duplicate_ids": "ignore", "max_failed_shards": 3}
    job = make_job(input__path=str(corpus), tasks=["feature-extraction"], policy=policy)
    plan = make_plan(job.input, ShardLimits(job.output.rows_per_shard), job.storage)
    shutil.copy(corpus / "part-2.parquet", corpus / "part-1.parquet")  # between plan and read
    monkeypatch.setattr("pipelines.run.prepare.survey_corpus", lambda *_: plan.corpus)
    report = run(job, quiet_console())
    changed = {s.id for s in planned_shards(plan.shards) if s.members[0].file.endswith("part-1.parquet")}
    assert len(changed) == report["totals"]["failed_shards"] == 3
    assert {failure["shard"] for failure in report["failed"]} == changed
    assert all("changed after the plan was made" in failure["error"] for failure in report["failed"])
    assert {record.shard for record in ledger_records(Path(job.output.path))}.isdisjoint(changed)
    assert report["totals"]["shards"] == len(plan.shards) - 3
    assert not Path(job.output.path, "_SUCCESS").exists()


def test_missing_part_is_computed_again(undisturbed, make_job, tmp_path, in_process):
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    before = result_digests(out)
    next(out.glob("data/part-*")).unlink()
    console = quiet_console()
    run(make_job(output__path=str(out)), console)
    assert "computing 1 part again, missing or changed since being recorded" in printed(console)
    assert result_digests(out) == before


def test_truncated_parts_and_missing_rejected_rows_are_computed_again(make_job, in_process):
    job = make_job()
    run(job, quiet_console())
    out = Path(job.output.path)
    before = result_digests(out)
    part = next(out.glob("data/part-*"))
    part.write_bytes(part.read_bytes()[:-9])
    next((out / "_xlm" / "rejected").iterdir()).unlink()
    run(job, quiet_console())
    assert result_digests(out) == before


def test_damaged_rejected_rows_are_computed_again(make_job, tmp_path, in_process):
    """Even if their size is right: no other file says which rows repeated an id."""
    table = pa.table({"id": ["1", "1"], "text": ["some text", "another"], "lang": ["en", "en"]})
    pq.write_table(table, tmp_path / "in.parquet")
    job = make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"},
        tasks=["feature-extraction"],
        policy={"duplicate_ids": "reject", "max_rejected": 1.0},
    )
    run(job, quiet_console())
    before = result_digests(Path(job.output.path))
    (rejected,) = Path(job.output.path, "_xlm", "rejected").iterdir()
    rejected.write_bytes(bytes(rejected.stat().st_size))
    assert run(job, quiet_console())["status"] == "complete"
    assert result_digests(Path(job.output.path)) == before
    assert [row["reason"] for row in read_rejected(job.output.path)] == ["duplicate_id"]


def test_parts_without_a_record_are_replaced_or_removed(undisturbed, make_job, tmp_path, in_process):
    """Such parts are left by a run that is killed before it writes the record, or belong to a file that changed."""
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    before = result_digests(out)
    shutil.rmtree(out / "_xlm" / "ledger")
    (out / "_SUCCESS").unlink()
    damaged = next(out.glob("data/part-*"))
    damaged.write_bytes(b"half a pa")
    shutil.copy(next(out.glob("data/part-*1-*")), out / "data" / "part-0000000000000000-00000-000000000.parquet")
    (out / "_xlm" / "tmp" / ".part-x.parquet.0a1b2c3d.tmp").write_bytes(b"left by a killed writer")
    run(make_job(output__path=str(out)), quiet_console())
    assert result_digests(out) == before
    assert not list((out / "_xlm" / "tmp").iterdir())


def test_each_id_is_written_once_while_files_change(make_job, tmp_path, in_process):
    """Every other row with the id is rejected, whichever file was computed first."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    def write(name: str, ids: str) -> None:
        texts = [f"{row_id} in {name}, {random.random()}" for row_id in ids]
        table = pa.table({"id": list(ids), "text": texts, "lang": ["en"] * len(ids)})
        pq.write_table(table, corpus / f"{name}.parquet")

    job = make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        policy={"duplicate_ids": "reject", "max_rejected": 1.0, "max_removed": 1.0},
        tasks=["feature-extraction"],
    )
    out = Path(job.output.path)

    def run_and_check(ids: str, rejected: str) -> None:
        assert run(job, quiet_console())["status"] == "complete"
        assert (out / "_SUCCESS").exists()
        assert sorted(ds.dataset(out / "data").to_table()["id"].to_pylist()) == list(ids)
        assert sorted(row["id"] for row in read_rejected(str(out))) == list(rejected)

    write("a", "ab")
    write("b", "bc")
    run_and_check("abc", "b")
    write("a", "ab")  # the file with the first b changes
    run_and_check("abc", "b")
    write("0", "cd")  # a new file that sorts first does not replace what is written
    run_and_check("abcd", "bc")
    (out / "_xlm" / "plan.parquet").unlink()
    write("1", "a")
    run_and_check("abcd", "abc")
    for file in (out / "_xlm" / "ledger").iterdir():  # as if the run was killed before it wrote any record
        file.unlink()
    (corpus / "a.parquet").unlink()
    run_and_check("abcd", "c")
    (corpus / "0.parquet").unlink()
    run_and_check("abc", "")
