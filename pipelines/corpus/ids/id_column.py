"""Read the ids of shards: their hashes, and the ids themselves where hashes are repeated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.ids.hash_ids import hash_ids, to_bytes
from pipelines.corpus.member_reader import MemberReader, join_alike, select_rows
from pipelines.corpus.parquet import UnsupportedInputError
from pipelines.corpus.planned_shard import read_groups
from pipelines.filter import matching_rows, parse_filter
from pipelines.rows import ROW
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.ids.repeated_hashes import RepeatedHashes
    from pipelines.corpus.planned_shard import Member, PlannedShard
    from pipelines.storage import StoreSettings

_THREADS = min(16, 2 * (os.cpu_count() or 1))  # also hide the latency of a store


class IdRow(NamedTuple):
    """A row: the bytes of its id, its shard and position there, and its file and number there."""

    id: bytes
    shard: str
    position: int
    file: str
    row: int


class HashedShard(NamedTuple):
    """The hashes of a shard's ids, and whether some of its rows could not be read."""

    hashes: NDArray[np.uint64]
    is_partial: bool


class IdColumn(NamedTuple):
    """Which ids to read; see `find_duplicates`."""

    column: str
    filter: str | None
    known_repeats: Mapping[str, set[tuple[str, int]]]
    stores: Sequence[StoreSettings]

    def hash_shards(self, shards: pa.Table) -> Iterator[HashedShard]:
        """Yield the hashes of the ids of each shard of a plan, of rows that have one, in order."""
        for group in map_in_threads(self._hash_group, read_groups(shards), _THREADS):
            yield from group

    def read_suspects(self, shards: pa.Table, repeated: RepeatedHashes) -> Iterator[IdRow]:
        """Yield the rows of a plan whose hashes are repeated, in order."""
        for rows in map_in_threads(lambda group: self._read_suspects(group, repeated), read_groups(shards), _THREADS):
            yield from rows

    def _hash_group(self, group: list[PlannedShard]) -> list[HashedShard]:
        with self._reader() as reader:
            return [self._hash_shard(shard, reader) for shard in group]

    def _hash_shard(self, shard: PlannedShard, reader: MemberReader) -> HashedShard:
        found, tables = [np.empty(0, np.uint64)], [self._read(shard, member, reader) for member in shard.members]
        is_partial = any(table is None for table in tables)
        for table in join_alike(table for table in tables if table is not None):
            selected = self._select(table)
            is_partial |= selected is None
            for ids, _ in selected or ():
                hashes, is_valid = hash_ids(ids)
                found.append(hashes[is_valid])
        return HashedShard(np.concatenate(found), is_partial)

    def _read_suspects(self, group: list[PlannedShard], repeated: RepeatedHashes) -> list[IdRow]:
        found: list[IdRow] = []
        with self._reader() as reader:
            members = ((shard, member) for shard in group for member in zip(shard.members, shard.starts, strict=True))
            for shard, (member, first) in members:
                table = self._read(shard, member, reader)
                for ids, rows in (table is not None and self._select(table)) or ():
                    hashes, is_valid = hash_ids(ids)
                    chosen = np.flatnonzero(is_valid)
                    chosen = chosen[repeated.find_in(hashes[chosen])]
                    values: list[bytes] = to_bytes(ids.take(pa.array(chosen))).to_pylist()
                    found += [
                        IdRow(value, shard.id, first + row - member.file_row, member.file, row)
                        for value, row in zip(values, rows[chosen].tolist(), strict=True)
                    ]
        return found

    def _reader(self) -> MemberReader:
        columns = {self.column} | (parse_filter(self.filter)[1] if self.filter else set())
        return MemberReader(sorted(columns), self.stores)

    def _read(self, shard: PlannedShard, member: Member, reader: MemberReader) -> pa.Table | None:
        """Read the rows of a member that are not known to repeat an id, and their numbers; None if it is unreadable."""
        try:
            table = select_rows(reader.read(member), member.file_row, None)
        except (OSError, IndexError, pa.ArrowException, UnsupportedInputError):
            return None
        known = [row for file, row in self.known_repeats.get(shard.id, ()) if file == member.file]
        return table.filter(pa.array(~np.isin(table[ROW].to_numpy(), known))) if known else table

    def _select(self, table: pa.Table) -> list[tuple[pa.Array, NDArray[np.int64]]] | None:
        """Return the ids of rows that pass the filter, and the numbers of their rows; None if it cannot be applied."""
        if self.filter is not None:
            try:
                table = table.filter(matching_rows(self.filter, table))
            except pa.ArrowException:
                return None
        ids, numbers = table[self.column], table[ROW].to_numpy()
        if not pa.types.is_dictionary(ids.type):  # the dictionaries of many files may have too many values for one
            ids = pa.table([ids], ["ids"]).combine_chunks()["ids"]
        starts = np.cumsum([0, *map(len, ids.chunks)])
        return [(chunk, numbers[start : start + len(chunk)]) for chunk, start in zip(ids.chunks, starts, strict=False)]
