"""Find rows whose id repeats that of an earlier row, over the whole corpus, by reading only the id column."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.id_hashes import hash_ids, to_bytes
from pipelines.corpus.member_reader import MemberReader, select_rows
from pipelines.corpus.parquet import UnsupportedInputError
from pipelines.corpus.planned_shard import read_groups
from pipelines.corpus.repeated_hashes import RepeatedHashes
from pipelines.filter import parse_filter
from pipelines.rows import ROW
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.planned_shard import Member, PlannedShard
    from pipelines.storage import StoreSettings

_THREADS = min(16, 2 * (os.cpu_count() or 1))  # also hide the latency of a store

# Repeated ids are counted after this many rows, and then whenever the number of rows has doubled.
_FIRST_COUNT_ROWS = 65_536


class Repeat(NamedTuple):
    """A row whose id an earlier row, in plan order, already has.

    Attributes:
        shard, position: its shard, and its position there.
        file, row: its input file, and its number there.
        first_file, first_row: the same of the earlier row.
    """

    shard: str
    position: int
    file: str
    row: int
    first_file: str
    first_row: int


class Duplicates(NamedTuple):
    """The rows whose id an earlier row, in plan order, already has.

    Attributes:
        num_repeats: their number, among `num_rows` rows.
        num_rows: rows whose ids were counted: all rows, unless counting ended early.
        ended_early: whether so many rows repeat an id that the rest was not counted.
        repeats: the rows, found as the iterator advances.
    """

    num_repeats: int
    num_rows: int
    ended_early: bool
    repeats: Iterator[Repeat]


def find_duplicates(
    shards: pa.Table,
    id_column: str,
    filter_text: str | None,
    known_repeats: Mapping[str, set[tuple[str, int]]],
    stores: Sequence[StoreSettings] = (),
    max_share: float = 1.0,
) -> Duplicates:
    """Find every row whose id an earlier row of the job's input already has.

    Uses about 8 bytes per row: the first pass counts equal hashes, and a second pass, `Duplicates.repeats`, reads the
    shards with equal hashes again, and compares their ids. An unreadable row group is skipped; its shards fail when the
    job reads it.

    Args:
        shards: the plan, whose order decides which of two rows is the earlier one.
        id_column: a column of ids; nulls and text that is not UTF-8 are ignored.
        filter_text: the job's filter; rows that it drops are ignored.
        known_repeats: for a shard, the file and number of rows that are known to repeat an id; they are ignored too.
        stores: options of the stores that contain the corpus.
        max_share: the first pass ends early if a larger share of the rows read so far repeats an id, because then the
            column does not contain ids.
    """
    ids = _Ids(id_column, filter_text, known_repeats, stores)
    hashes: list[NDArray[np.uint64]] = []  # of each shard
    num_rows, next_count = 0, _FIRST_COUNT_ROWS
    for hashed in map_in_threads(ids.hash_group, read_groups(shards), _THREADS):
        hashes += hashed
        num_rows += sum(map(len, hashed))
        if max_share < 1 and num_rows >= next_count:
            repeated = RepeatedHashes(hashes)
            if repeated.num_repeats > max_share * num_rows:
                return Duplicates(repeated.num_repeats, num_rows, True, _find_repeats(shards, ids, hashes, repeated))
            next_count = 2 * num_rows
    repeated = RepeatedHashes(hashes)
    return Duplicates(repeated.num_repeats, num_rows, False, _find_repeats(shards, ids, hashes, repeated))


class _IdRow(NamedTuple):
    """A row: the bytes of its id, its shard and position there, and its file and number there."""

    id: bytes
    shard: str
    position: int
    file: str
    row: int


class _Ids(NamedTuple):
    """Which ids to read; see `find_duplicates`."""

    column: str
    filter: str | None
    known_repeats: Mapping[str, set[tuple[str, int]]]
    stores: Sequence[StoreSettings]

    def hash_group(self, group: list[PlannedShard]) -> list[NDArray[np.uint64]]:
        """Return the hashes of the ids of each shard, of rows that have one."""
        with self._reader() as reader:
            return [self._hash_shard(shard, reader) for shard in group]

    def read_suspects(self, group: list[PlannedShard], repeated: RepeatedHashes) -> list[_IdRow]:
        """Return the rows of shards whose hashes are repeated."""
        found: list[_IdRow] = []
        with self._reader() as reader:
            members = ((shard, member) for shard in group for member in zip(shard.members, shard.starts, strict=True))
            for shard, (member, first) in members:
                for ids, rows in self._read(member, reader):
                    hashes, is_valid = hash_ids(ids)
                    chosen = np.flatnonzero(is_valid & self._is_not_known(shard, member, rows))
                    chosen = chosen[repeated.find_in(hashes[chosen])]
                    values: list[bytes] = to_bytes(ids.take(pa.array(chosen))).to_pylist()
                    found += [
                        _IdRow(value, shard.id, first + row - member.file_row, member.file, row)
                        for value, row in zip(values, rows[chosen].tolist(), strict=True)
                    ]
        return found

    def _reader(self) -> MemberReader:
        columns = {self.column} | (parse_filter(self.filter)[1] if self.filter else set())
        return MemberReader(sorted(columns), self.stores)

    def _hash_shard(self, shard: PlannedShard, reader: MemberReader) -> NDArray[np.uint64]:
        found = [np.empty(0, np.uint64)]
        for member in shard.members:
            for ids, rows in self._read(member, reader):
                hashes, is_valid = hash_ids(ids)
                found.append(hashes[is_valid & self._is_not_known(shard, member, rows)])
        return np.concatenate(found)

    def _read(self, member: Member, reader: MemberReader) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
        """Yield the ids of a member and the numbers of their rows in the file."""
        try:
            table = select_rows(reader.read(member), member.file_row, self.filter)
        except (OSError, IndexError, pa.ArrowException, UnsupportedInputError):
            return
        first, numbers = 0, table[ROW].to_numpy()
        for chunk in table[self.column].chunks:
            yield chunk, numbers[first : first + len(chunk)]
            first += len(chunk)

    def _is_not_known(self, shard: PlannedShard, member: Member, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        known = [row for file, row in self.known_repeats.get(shard.id, ()) if file == member.file]
        return ~np.isin(rows, known) if known else np.ones(len(rows), np.bool_)


def _find_repeats(
    shards: pa.Table, ids: _Ids, hashes: Sequence[NDArray[np.uint64]], repeated: RepeatedHashes
) -> Iterator[Repeat]:
    if not repeated.num_repeats:
        return
    suspects = shards.take(pa.array([i for i, found in enumerate(hashes) if len(repeated.find_in(found))]))
    first_rows: dict[bytes, tuple[str, int]] = {}
    for rows in map_in_threads(lambda group: ids.read_suspects(group, repeated), read_groups(suspects), _THREADS):
        for row_id, shard, position, file, number in rows:
            first = first_rows.setdefault(row_id, (file, number))
            if first != (file, number):
                yield Repeat(shard, position, file, number, *first)
