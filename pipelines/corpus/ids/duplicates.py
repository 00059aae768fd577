"""Find rows whose id repeats that of an earlier row, over the whole corpus, by reading only the id column."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.ids.id_column import IdColumn
from pipelines.corpus.ids.repeated_hashes import RepeatedHashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.ids.id_column import IdRow
    from pipelines.storage import StoreSettings

# The ids of a larger corpus are compared on Ray. The hashes of this many rows take 128 MB, and reading their ids takes
# about as long as Ray needs to start.
MAX_ROWS_IN_DRIVER = 2**24

# Repeated ids are counted after this many rows, and then whenever the number of rows has doubled.
_FIRST_COUNT_ROWS = 65_536

_SAMPLE_ROWS = 2**20  # of a large corpus, which show whether the column contains ids


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
        is_partial: whether some rows could not be read.
        repeats: the rows, found as the iterator advances.
    """

    num_repeats: int
    num_rows: int
    ended_early: bool
    is_partial: bool
    repeats: Iterator[Repeat]


def find_duplicates(
    shards: pa.Table,
    id_column: str,
    filter_text: str | None,
    known_repeats: Mapping[str, set[tuple[str, int]]],
    stores: Sequence[StoreSettings] = (),
    max_share: float = 1.0,
    *,
    on_ray: bool = False,
) -> Duplicates:
    """Find every row whose id an earlier row of the job's input already has.

    Equal ids have equal hashes, so a first pass finds the hashes that are repeated, and a second pass,
    `Duplicates.repeats`, reads the shards with such hashes again, and compares the ids themselves. An unreadable row
    group is skipped; its shards fail when the job reads it.

    Args:
        shards: the plan, whose order decides which of two rows is the earlier one.
        id_column: a column of ids; nulls and text that is not UTF-8 are ignored.
        filter_text: the job's filter; rows that it drops are ignored.
        known_repeats: for a shard, the file and number of rows that are known to repeat an id; they are ignored too.
        stores: options of the stores that contain the corpus.
        max_share: the first pass ends early if a larger share of the rows read so far repeats an id, because then the
            column does not contain ids. On Ray, it ends early after a sample; later, only some of the rows are found.
        on_ray: whether to compute on Ray, in memory that does not grow with the corpus. Otherwise, threads of this
            process keep 8 bytes of each row.
    """
    ids = IdColumn(id_column, filter_text, known_repeats, stores)
    if not on_ray:
        return _find_in_threads(shards, ids, max_share)
    if max_share < 1:
        ends = np.cumsum(shards["num_rows"].to_numpy())
        sample = shards.slice(0, int(np.searchsorted(ends, _SAMPLE_ROWS)) + 1)
        found = _find_in_threads(sample, ids, max_share)
        if found.ended_early:
            return found
    from pipelines.corpus.ids.on_ray import IdTasks  # imports Ray, which a small corpus does not need

    tasks = IdTasks(ids, shards, keep_all=max_share >= 1)
    found = tasks.find_repeated()
    repeats = _find_repeats(tasks.read_suspects(found))
    return Duplicates(found.repeated.num_repeats, found.num_rows, False, found.is_partial, repeats)


def _find_in_threads(shards: pa.Table, ids: IdColumn, max_share: float) -> Duplicates:
    hashes: list[NDArray[np.uint64]] = []  # of each shard
    num_rows, next_count, is_partial = 0, _FIRST_COUNT_ROWS, False
    for shard in ids.hash_shards(shards):
        hashes.append(shard.hashes)
        num_rows += len(shard.hashes)
        is_partial |= shard.is_partial
        if max_share < 1 and num_rows >= next_count:
            repeated = RepeatedHashes.find(hashes)
            if repeated.num_repeats > max_share * num_rows:
                rows = _read_suspects(shards, ids, hashes, repeated)
                return Duplicates(repeated.num_repeats, num_rows, True, is_partial, _find_repeats(rows))
            next_count = 2 * num_rows
    repeated = RepeatedHashes.find(hashes)
    rows = _read_suspects(shards, ids, hashes, repeated)
    return Duplicates(repeated.num_repeats, num_rows, False, is_partial, _find_repeats(rows))


def _read_suspects(
    shards: pa.Table, ids: IdColumn, hashes: Sequence[NDArray[np.uint64]], repeated: RepeatedHashes
) -> Iterator[IdRow]:
    suspects = shards.take(pa.array([i for i, found in enumerate(hashes) if len(repeated.find_in(found))], pa.int64()))
    yield from ids.read_suspects(suspects, repeated)


def _find_repeats(rows: Iterable[IdRow]) -> Iterator[Repeat]:
    first_rows: dict[bytes, tuple[str, int]] = {}
    for row_id, shard, position, file, number in rows:
        first = first_rows.setdefault(row_id, (file, number))
        if first != (file, number):
            yield Repeat(shard, position, file, number, *first)
