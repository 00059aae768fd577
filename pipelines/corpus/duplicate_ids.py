"""Find rows whose id repeats that of an earlier row, over the whole corpus, by reading only the id column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pandas.util import hash_array

from pipelines.corpus.parquet import UnsupportedInputError
from pipelines.corpus.planned_shard import group_by_row_group, planned_shards
from pipelines.corpus.repeated_hashes import RepeatedHashes
from pipelines.corpus.row_groups import read_row_group, select_rows
from pipelines.filter import parse_filter
from pipelines.rows import ROW, decode_ids
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.planned_shard import PlannedShard
    from pipelines.storage import StoreSettings


# Repeated ids are counted after this many rows, and then whenever the number of rows has doubled.
_FIRST_COUNT_ROWS = 65_536


class Repeat(NamedTuple):
    """A row whose id an earlier row, in plan order, already has."""

    shard: str
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
    known_repeats: Mapping[str, set[int]],
    stores: Sequence[StoreSettings] = (),
    max_share: float = 1.0,
) -> Duplicates:
    """Find every row whose id an earlier row of the job's input already has.

    Uses at most 24 bytes per row: the first pass counts equal hashes, and a second pass, `Duplicates.repeats`, compares
    the ids only where hashes are equal. An unreadable row group is skipped; its shards fail when the job reads it.

    Args:
        shards: the plan, whose order decides which of two rows is the earlier one.
        id_column: a column of ids; nulls and text that is not UTF-8 are ignored.
        filter_text: the job's filter; rows that it drops are ignored.
        known_repeats: for a shard, rows that are already known to repeat an id; they are ignored too.
        stores: options of the stores that contain the corpus.
        max_share: the first pass ends early if a larger share of the rows read so far repeats an id, because then the
            column does not contain ids.
    """

    def read() -> Iterator[tuple[PlannedShard, NDArray[Any], NDArray[np.int64]]]:
        return _read_ids(shards, id_column, filter_text, known_repeats, stores)

    hashes: list[NDArray[np.uint64]] = []
    num_rows, next_count = 0, _FIRST_COUNT_ROWS
    for _, ids, _ in read():
        hashes.append(_hash(ids))
        num_rows += len(ids)
        if max_share < 1 and num_rows >= next_count:
            repeated = RepeatedHashes(hashes)
            if repeated.num_repeats > max_share * num_rows:
                return Duplicates(repeated.num_repeats, num_rows, True, _find_repeats(read(), repeated))
            next_count = 2 * num_rows
    repeated = RepeatedHashes(hashes)
    return Duplicates(repeated.num_repeats, num_rows, False, _find_repeats(read(), repeated))


def _find_repeats(
    ids_of_shards: Iterator[tuple[PlannedShard, NDArray[Any], NDArray[np.int64]]], repeated: RepeatedHashes
) -> Iterator[Repeat]:
    if not repeated.num_repeats:
        return
    first_positions: dict[Any, tuple[str, int]] = {}
    for shard, ids, rows in ids_of_shards:
        for i in repeated.find_in(_hash(ids)).tolist():
            position = (shard.file, int(rows[i]))
            first = first_positions.setdefault(ids[i], position)
            if first != position:
                yield Repeat(shard.id, *position, *first)


def _read_ids(
    shards: pa.Table,
    id_column: str,
    filter_text: str | None,
    known_repeats: Mapping[str, set[int]],
    stores: Sequence[StoreSettings],
) -> Iterator[tuple[PlannedShard, NDArray[Any], NDArray[np.int64]]]:
    """Yield, for each shard, the ids that are not ignored, and the numbers of their rows in the file."""
    columns = sorted({id_column} | (parse_filter(filter_text)[1] if filter_text else set()))
    for group in group_by_row_group(planned_shards(shards)):
        try:
            row_group = read_row_group(locate(group[0].file, stores), group[0], columns)
        except (OSError, pa.ArrowException, UnsupportedInputError):
            continue
        for shard in group:
            table = select_rows(row_group, shard, filter_text)
            ids: list[Any] = []
            for chunk in table[id_column].chunks:
                values, invalid = (chunk.to_pylist(), {}) if pa.types.is_integer(chunk.type) else decode_ids(chunk)
                ids += [None if i in invalid else value for i, value in enumerate(values)]
            rows = table[ROW].to_numpy()
            is_included = np.array([row_id is not None for row_id in ids], bool)
            if ignored := known_repeats.get(shard.id):
                is_included &= ~np.isin(rows, list(ignored))
            yield shard, np.array(ids, object)[is_included], rows[is_included]


def _hash(ids: NDArray[Any]) -> NDArray[np.uint64]:
    if len(ids) and isinstance(ids[0], int):
        ids = ids.astype(np.int64 if min(ids) < 0 else np.uint64)
    return hash_array(ids)  # pyright: ignore[reportCallIssue]  (pandas loads it by name)
