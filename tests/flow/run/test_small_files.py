"""Corpora of many small files: shards of several files, and what later runs compute when files are added or change."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.output.directory import Output
from pipelines.run.execute import run
from pipelines.storage import locate
from pipelines.verify import verify
from tests.flow.in_process import read_rejected
from tests.flow.run.outputs import ledger_records, modification_times, printed, quiet_console, result_digests

LANGS = ["de", "en", "fr", "ru"]


def sentences(num_rows: int, seed: int = 0) -> pa.Table:
    """Make rows of different lengths; some have no text, and some no language."""
    rng = random.Random(seed)
    texts = [
        " ".join(rng.choices(["a", "house", "Straße", "и", "the", "un"], k=rng.randint(1, 30))) for _ in range(num_rows)
    ]
    texts = [None if rng.random() < 0.05 else text for text in texts]
    langs = [None if rng.random() < 0.05 else rng.choice(LANGS) for _ in range(num_rows)]
    year = [rng.choice([2019, 2021]) for _ in range(num_rows)]
    return pa.table({"id": [f"{seed}-{i}" for i in range(num_rows)], "text": texts, "lang": langs, "year": year})


def write_files(folder: Path, table: pa.Table, rows_per_file: int, *text_types: pa.DataType) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(0, len(table), rows_per_file):
        rows = table.slice(i, rows_per_file)
        if text_types:
            text = rows["text"].cast(text_types[i // rows_per_file % len(text_types)])
            rows = rows.set_column(rows.schema.get_field_index("text"), "text", text)
        pq.write_table(rows, folder / f"{i:05}.parquet", row_group_size=4)


@pytest.fixture
def make_input(make_job, tmp_path, in_process):
    def make(path: Path, out: str = "out", *, row_id: str | None = None, **changes: Any):
        source = {"path": str(path), "text": "text", "lang": "lang", "id": row_id, "filter": "year > 2020"}
        return make_job(
            input=source,
            tasks=["feature-extraction"],
            output={"path": str(tmp_path / out), "rows_per_shard": 40},
            policy={"max_rejected": 1.0, **changes},
        )

    return make


def parts(out: Path) -> dict[str, int]:
    return {path: time for path, time in modification_times(out).items() if path.startswith("data/")}


def test_small_files_have_the_results_of_one_file(make_input, tmp_path):
    """Also the file and the number of each row are right, of results and of rejected rows, whatever type texts have."""
    table = sentences(120)
    pq.write_table(table, tmp_path / "one.parquet")
    layouts = (pa.string(), pa.large_string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))
    write_files(tmp_path / "small", table, 7, *layouts)
    one, small = make_input(tmp_path / "one.parquet"), make_input(tmp_path / "small", "small-out")
    for job in (one, small):
        assert run(job, quiet_console())["status"] == "complete"
        verdict = verify(Output(locate(job.output.path)))
        assert (verdict.problems, verdict.verified) == ([], True)
    assert len(parts(Path(one.output.path))) == len(parts(Path(small.output.path))) == 3

    def found(out: str) -> dict[tuple[str, int], Any]:
        rows = ds.dataset(f"{out}/data").to_table().to_pylist()
        results = {(row["file"], row["row"]): row["embedding"] for row in rows}
        results |= {(row["file"], row["row"]): row["reason"] for row in read_rejected(out)}
        return results

    expected, got = found(one.output.path), found(small.output.path)
    assert len(expected) == len(got) == sum(year > 2020 for year in table["year"].to_pylist())
    for (file, row), result in got.items():
        other = expected[str(tmp_path / "one.parquet"), int(Path(file).stem) + row]
        assert result == other if isinstance(result, str) else np.allclose(result, other, atol=2e-5)


def test_added_small_files_share_shards_of_their_own(make_input, tmp_path):
    folder = tmp_path / "small"
    write_files(folder, sentences(70), rows_per_file=7)
    job = make_input(folder, row_id="id")
    run(job, quiet_console())
    before = parts(tmp_path / "out")
    assert len(before) == 2
    for i in range(10):  # before, between and after the others
        pq.write_table(sentences(3, seed=i + 1), folder / f"{i * 7:05}{'x' if i % 2 else '-'}.parquet")
    assert run(job, quiet_console())["status"] == "complete"
    after = parts(tmp_path / "out")
    assert {path: after[path] for path in before} == before
    assert len(after) == 3
    assert verify(Output(locate(job.output.path))).verified


@pytest.mark.parametrize("deleted", [False, True])
def test_the_rest_of_a_shard_is_computed_again_if_one_of_its_files_changes(make_input, tmp_path, deleted):
    folder = tmp_path / "small"
    write_files(folder, sentences(105), rows_per_file=7)
    job = make_input(folder, row_id="id", max_removed=0.5)
    run(job, quiet_console())
    before = parts(tmp_path / "out")
    changed = folder / "00007.parquet"
    changed.unlink() if deleted else pq.write_table(sentences(7, seed=9), changed)
    console = quiet_console()
    assert run(job, console)["status"] == "complete"
    assert "removing 1 part of files that changed or were deleted" in printed(console)
    after = parts(tmp_path / "out")
    kept = before.keys() & after.keys()
    assert (len(before), len(kept), len(after)) == (3, 2, 3)
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    expected = ds.dataset(folder).to_table(filter=ds.field("year") > 2020)["id"].to_pylist()
    found = ds.dataset(tmp_path / "out" / "data").to_table()["id"].to_pylist()
    assert sorted(found + [row["id"] for row in read_rejected(job.output.path)]) == sorted(expected)
    assert verify(Output(locate(job.output.path))).verified


def test_a_small_share_of_a_shard_may_change(make_input, tmp_path):
    """The limit is on rows, because one file that changes may be in the only shard."""
    folder = tmp_path / "small"
    write_files(folder, sentences(35), rows_per_file=7)
    job = make_input(folder, max_removed=0.3)
    run(job, quiet_console())
    pq.write_table(sentences(7, seed=1), folder / "00007.parquet")
    assert run(job, quiet_console())["status"] == "complete"
    for name in ("00007", "00014"):
        (folder / f"{name}.parquet").unlink()
    with pytest.raises(FatalError, match=r"the results of .* rows would be removed, because their files changed"):
        run(job, quiet_console())


def test_footers_of_planned_files_are_not_read_again(make_input, tmp_path):
    folder = tmp_path / "small"
    write_files(folder, sentences(70), rows_per_file=7)
    job = make_input(folder)
    run(job, quiet_console())
    before = result_digests(tmp_path / "out")
    for file in folder.iterdir():  # now unreadable, but of the same size and time
        status = file.stat()
        file.write_bytes(bytes(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    console = quiet_console()
    assert run(job, console)["status"] == "complete"
    assert "nothing to do" in printed(console)
    assert result_digests(tmp_path / "out") == before


def replace(file: Path, content: bytes, times: os.stat_result) -> None:
    file.write_bytes(content)


def restore(file: Path, content: bytes | bytearray, times: os.stat_result) -> None:
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def delete(file: Path, content: bytes, times: os.stat_result) -> None:
    file.unlink()


@pytest.mark.parametrize("mend", [replace, restore, delete])
def test_shard_with_damaged_files_is_computed_once_they_are_replaced_or_deleted(make_input, tmp_path, mend):
    """The files are damaged in their data, which a run finds when it reads them."""
    folder = tmp_path / "small"
    write_files(folder, sentences(105), rows_per_file=7)
    damaged = [folder / "00007.parquet", folder / "00021.parquet"]
    intact = [(file, file.read_bytes(), file.stat()) for file in damaged]
    for file, content, times in intact:
        data = bytearray(content)
        data[4:200] = bytes(196)
        restore(file, data, times)
    job = make_input(folder, row_id="id", max_failed_shards=1)
    report = run(job, quiet_console())
    (failed,) = report["failed"]
    assert f"{damaged[0]}: row group 0 cannot be read" in failed["error"]
    assert f"1 more file of the shard cannot be read: {damaged[1]}" in failed["error"]
    assert "4 other files of the shard are processed once these are replaced or deleted" in failed["error"]
    assert report["totals"]["shards"] == 2
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    for file, content, times in intact:
        mend(file, content, times)
    assert run(job, quiet_console())["status"] == "complete"
    expected = ds.dataset(folder).to_table(filter=ds.field("year") > 2020)["id"].to_pylist()
    found = ds.dataset(tmp_path / "out" / "data").to_table()["id"].to_pylist()
    assert sorted(found + [row["id"] for row in read_rejected(job.output.path)]) == sorted(expected)


def test_lost_plan_is_made_again(make_input, tmp_path):
    """The files are grouped again. Shards whose rows are others than before are computed again."""
    folder = tmp_path / "small"
    write_files(folder, sentences(70), rows_per_file=7)
    job = make_input(folder, row_id="id")
    run(job, quiet_console())
    pq.write_table(sentences(3, seed=1), folder / "00000-.parquet")
    run(job, quiet_console())
    (tmp_path / "out" / "_xlm" / "plan.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(FatalError, match=r"plan.parquet is missing or damaged, and without it 3 of 3 parts would be"):
        run(job, quiet_console())
    job = make_input(folder, row_id="id", max_removed=1.0)
    assert run(job, quiet_console())["status"] == "complete"
    assert verify(Output(locate(job.output.path))).verified
    assert sum(record.num_files for record in ledger_records(tmp_path / "out")) >= 11


def test_repeated_ids_are_found_across_small_files(make_input, tmp_path):
    folder = tmp_path / "small"
    write_files(folder, sentences(35), rows_per_file=7)
    table = sentences(35)
    pq.write_table(table.slice(30, 5), folder / "x.parquet")
    job = make_input(folder, row_id="id", duplicate_ids="reject")
    assert run(job, quiet_console())["status"] == "complete"
    repeated = [row for row in read_rejected(job.output.path) if row["reason"] == "duplicate_id"]
    ids = [i for i, year in zip(table["id"].to_pylist(), table["year"].to_pylist(), strict=True) if year > 2020]
    expected = [row_id for row_id in ids if int(row_id.partition("-")[2]) >= 30]
    assert [row["id"] for row in repeated] == expected
    assert {row["file"] for row in repeated} == {str(folder / "x.parquet")}
    assert verify(Output(locate(job.output.path))).verified
    before = result_digests(tmp_path / "out")
    assert run(job, quiet_console())["status"] == "complete"
    assert result_digests(tmp_path / "out") == before
