"""The ids of a large corpus are compared on Ray, and ids that a run has compared are not read again."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus import find_duplicates
from pipelines.corpus.planned_shard import Member, PlannedShard, plan_table
from pipelines.errors import FatalError
from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from tests.flow.in_process import read_output, read_rejected
from tests.flow.run.outputs import quiet_console


@pytest.fixture
def few_rows_at_once(monkeypatch):
    """Compare more than ten ids on Ray, and these in small batches and parts."""
    monkeypatch.setattr("pipelines.run.output_checks.MAX_ROWS_IN_DRIVER", 10)
    monkeypatch.setattr("pipelines.corpus.ids.on_ray._BATCH_ROWS", 500)
    monkeypatch.setattr("pipelines.corpus.ids.on_ray._MIN_PART_ROWS", 1)
    monkeypatch.setattr("pipelines.corpus.ids.repeated_hashes._PART_HASHES", 1_000)


def write(folder: Path, name: str, ids: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    langs = ["en"] * len(ids)
    table = pa.table({"id": ids, "text": ids, "lang": langs})
    # so that files with other ids of the same length have the same size
    plain = {"use_dictionary": False, "compression": "none"}
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=30, **plain)


def make(make_job, corpus: Path, policy: str):
    return make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        policy={"duplicate_ids": policy, "max_rejected": 1.0, "max_removed": 1.0},
        tasks=["feature-extraction"],
    )


def test_ray_finds_the_rows_that_threads_find(cluster, tmp_path, few_rows_at_once):
    numbers = np.random.default_rng(0).integers(0, 20_000, 9_000).astype(str)
    shards = []
    for first in range(0, 9_000, 300):
        write(tmp_path, f"{first:04d}", numbers[first : first + 300].tolist())
        file = str(tmp_path / f"{first:04d}.parquet")
        members = [Member(file, 0, 0, "", i, 0, 30 * i, 30) for i in range(10)]
        shards += [PlannedShard(f"{first}-{i}", (member,)) for i, member in enumerate(members)]
    (tmp_path / "0300.parquet").write_bytes(b"damaged")
    known = {"0-1": {(str(tmp_path / "0000.parquet"), 30)}}
    expected = find_duplicates(plan_table(shards), "id", None, known)
    found = find_duplicates(plan_table(shards), "id", None, known, on_ray=True)
    rows = list(expected.repeats)
    assert len(rows) > 1_000
    assert list(found.repeats) == rows
    assert found._replace(repeats=expected.repeats) == expected
    assert found.is_partial


def test_a_large_corpus_with_repeated_ids_is_refused(cluster, make_job, tmp_path, few_rows_at_once):
    corpus = tmp_path / "corpus"
    write(corpus, "a", [str(i) for i in range(2_000)])
    write(corpus, "b", ["x", "7", "y"])
    with pytest.raises(FatalError) as error:
        run(make(make_job, corpus, "error"), quiet_console())
    assert (
        f"1 row with the id of an earlier row ({corpus}/b.parquet row 1 has that of {corpus}/a.parquet row 7)"
        in str(error.value)
    )
    assert not (tmp_path / "out" / "data").exists()


def test_rows_of_a_large_corpus_that_repeat_an_id_are_rejected(
    cluster, make_job, tmp_path, few_rows_at_once, in_process
):
    corpus = tmp_path / "corpus"
    write(corpus, "a", ["1", "2", "3", "2"] + [str(i) for i in range(100, 120)])
    write(corpus, "b", ["4", "1", "115"])
    job = make(make_job, corpus, "reject")
    assert run(job, quiet_console())["status"] == "complete"
    assert sorted(row["id"] for row in read_rejected(job.output.path)) == ["1", "115", "2"]
    ids = read_output(job.output.path)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 24


@pytest.mark.parametrize("policy", ["error", "reject"])
def test_ids_that_a_run_has_compared_are_not_read_again(make_job, tmp_path, in_process, policy):
    corpus = tmp_path / "corpus"
    write(corpus, "a", ["11", "12"])
    write(corpus, "b", ["21", "22"])
    job = make(make_job, corpus, policy)
    parts = tmp_path / "out" / "data"
    run(job, quiet_console())

    # As nothing else can tell whether a file was read, put an id into it twice, and let it look unchanged.
    file = corpus / "b.parquet"
    before = file.stat()
    write(corpus, "b", ["21", "21"])
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    for part in parts.iterdir():
        part.unlink()
    assert run(job, quiet_console())["reasons"] == {}
    (corpus / "a.parquet").unlink()
    assert run(job, quiet_console())["reasons"] == {}
    write(corpus, "c", ["31"])  # its ids may be those of other files, so all are read
    found = find_duplicates(prepare_job(job).plan.shards, "id", None, {})
    assert [row.row for row in found.repeats] == [1]
    if policy == "error":
        with pytest.raises(FatalError, match="1 row with the id of an earlier row"):
            run(job, quiet_console())
