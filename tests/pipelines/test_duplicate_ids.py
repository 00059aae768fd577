"""Repeated ids are found in time that grows with the corpus, and a wrong id column is found early."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus import RepeatedHashes, StoredHashes, find_duplicates, hash_ids
from pipelines.corpus.planned_shard import PlannedShard, plan_table
from tests.pipelines.corpus.shards import one_member


def write(path: Path, ids: pa.Array, rows_per_shard: int) -> pa.Table:
    """Write one row group, and return its plan."""
    pq.write_table(pa.table({"id": ids}), path, row_group_size=len(ids))
    return plan_table(
        one_member(f"s{start}", min(rows_per_shard, len(ids) - start), str(path), first_row=start, file_row=start)
        for start in range(0, len(ids), rows_per_shard)
    )


def write_files(folder: Path, ids: pa.Array, rows_per_shard: int) -> pa.Table:
    """Write a file for each shard, and return their plan."""
    starts = range(0, len(ids), rows_per_shard)
    return pa.concat_tables(
        write(folder / f"{start}.parquet", ids.slice(start, rows_per_shard), rows_per_shard) for start in starts
    )


@pytest.mark.parametrize("ids", [[7, -1, 3, 7, -1, 7], ["g", "a", "c", "g", "a", "g"]])
def test_each_row_with_the_id_of_an_earlier_row_is_found(tmp_path, ids):
    found = find_duplicates(write(tmp_path / "in.parquet", pa.array(ids), rows_per_shard=2), "id", None, {})
    assert (found.num_repeats, found.num_rows, found.ended_early) == (3, 6, False)
    assert [(r.shard, r.position, r.row, r.first_row) for r in found.repeats] == [
        ("s2", 1, 3, 0),
        ("s4", 0, 4, 1),
        ("s4", 1, 5, 0),
    ]


def test_nulls_and_rows_known_to_repeat_are_ignored(tmp_path):
    plan = write(tmp_path / "in.parquet", pa.array([None, 1, None, 1, 2, 2]), rows_per_shard=3)
    found = find_duplicates(plan, "id", None, {"s3": {(str(tmp_path / "in.parquet"), 3)}})
    assert (found.num_repeats, found.num_rows, [r.row for r in found.repeats]) == (1, 3, [5])


def test_time_grows_with_the_corpus_not_with_its_square(tmp_path):
    """Sorting the repeated ids again for each of these shards takes over 20 s."""
    plan = write(tmp_path / "in.parquet", pa.array(np.tile(np.arange(100_000), 2)), rows_per_shard=100)
    start = time.process_time()
    assert sum(1 for _ in find_duplicates(plan, "id", None, {}).repeats) == 100_000
    assert time.process_time() - start < 10


def test_counting_ends_early_if_the_column_does_not_contain_ids(tmp_path):
    langs = pa.array(["en", "de", "fr", "zh"] * 75_000)
    found = find_duplicates(write_files(tmp_path, langs, 10_000), "id", None, {}, max_share=0.1)
    assert (found.num_repeats, found.num_rows, found.ended_early) == (69_996, 70_000, True)
    assert next(found.repeats).row == 4


def test_many_ids_are_compared_exactly(tmp_path):
    """Text of any length and script, whichever Arrow type a file has."""
    texts = [f"{'é' * (i % 40)}{i}" for i in range(50_000)]
    repeats = [texts[i] for i in range(0, 50_000, 7)]
    text, large = pa.array(texts), pa.array(repeats, pa.large_string()).dictionary_encode()
    plan = pa.concat_tables([write(tmp_path / "a.parquet", text, 9_000), write(tmp_path / "b.parquet", large, 500)])
    found = find_duplicates(plan, "id", None, {})
    assert found.num_repeats == len(repeats)
    assert [(r.row, r.first_row) for r in found.repeats] == [(i, 7 * i) for i in range(len(repeats))]


def test_ids_of_small_files_that_share_a_shard_are_compared(tmp_path):
    """Files have dictionaries of their own, and together more ids than their type of index can count."""
    index, members = pa.dictionary(pa.int8(), pa.string()), []
    for i in range(20):
        ids = pa.array([str(n) for n in range(10 * i, 10 * i + 10)] + ["7"])
        pq.write_table(pa.table({"id": ids.cast(index) if i % 4 else ids}), tmp_path / f"{i:02}.parquet")
        members.append(one_member("", len(ids), str(tmp_path / f"{i:02}.parquet")).members[0])
    found = find_duplicates(plan_table([PlannedShard("s", tuple(members))]), "id", None, {})
    assert (found.num_repeats, found.num_rows) == (20, 220)
    assert [(r.position, Path(r.file).stem, r.row, Path(r.first_file).stem, r.first_row) for r in found.repeats] == [
        (11 * i + 10, f"{i:02}", 10, "00", 7) for i in range(20)
    ]


def test_uuids_are_compared(tmp_path):
    ids = pa.array([bytes([i % 200]) * 16 for i in range(300)], pa.uuid())
    found = find_duplicates(write(tmp_path / "in.parquet", ids, 100), "id", None, {})
    assert (found.num_repeats, [r.first_row for r in found.repeats]) == (100, list(range(100)))


@given(st.lists(st.one_of(st.none(), st.text(), st.binary(max_size=20)), max_size=30))
def test_hashes_of_ids_are_equal_for_equal_ids(ids):
    values = [value.encode() if isinstance(value, str) else value for value in ids]
    column = pa.array(values, pa.binary()).view(pa.string())
    hashes, is_valid = hash_ids(column)
    for i, value in enumerate(values):
        assert is_valid[i] == (value is not None and value.decode(errors="replace").encode() == value)
    by_value = {value: hash_ for value, hash_ in zip(values, hashes.tolist(), strict=True) if value is not None}
    assert len(set(by_value.values())) == len(by_value)
    assert all(by_value[value] == hashes[i] for i, value in enumerate(values) if value is not None)
    part, _ = hash_ids(column.slice(len(ids) // 2))
    assert part.tolist() == hashes[len(ids) // 2 :].tolist()


def test_counting_goes_on_if_few_rows_repeat_an_id(tmp_path):
    ids = np.arange(200_000)
    ids[-2_000:] = 0
    found = find_duplicates(write(tmp_path / "in.parquet", pa.array(ids), 10_000), "id", None, {}, max_share=0.1)
    assert (found.num_repeats, found.num_rows, found.ended_early) == (2_000, 200_000, False)


def test_hashes_beyond_the_repeated_ones_are_not_found():
    hashes = [np.array(some, np.uint64) for some in ([5, 3], [3, 9], [1, 3, 5, 9, 10, 3])]
    repeated = RepeatedHashes.find(hashes[:2])
    assert (repeated.num_repeats, repeated.find_in(hashes[2]).tolist()) == (1, [1, 5])
    assert RepeatedHashes.find([]).find_in(hashes[2]).tolist() == []


def test_hashes_are_compared_in_parts(monkeypatch):
    """Those of a large corpus do not fit in memory twice."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 5_000, np.uint64)
    arrays = [hashes[:3_000], hashes[2_000:], hashes[-1:]]
    expected = RepeatedHashes.find(arrays)
    monkeypatch.setattr("pipelines.corpus.ids.repeated_hashes._PART_HASHES", 100)
    found = RepeatedHashes.find(arrays)
    assert (found.num_repeats, found.hashes.tolist()) == (1_001, expected.hashes.tolist())


def test_many_hashes_are_compared_in_files_that_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pipelines.corpus.ids.stored_hashes._MAX_IN_MEMORY", 1_000)
    hashes = np.random.default_rng(0).integers(0, 2**64, 5_000, np.uint64)
    arrays = [hashes[:3_000], hashes[2_500:2_600], hashes[2_000:], hashes[-1:]]
    with StoredHashes() as stored:
        for array in arrays:
            stored.add(array)
        assert list(tmp_path.iterdir())
        found = stored.find_repeated()
    assert (found.num_repeats, found.hashes.tolist()) == (1_101, RepeatedHashes.find(arrays).hashes.tolist())
    assert not list(tmp_path.iterdir())
