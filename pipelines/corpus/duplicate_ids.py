"""Find rows that repeat an id, over the whole corpus, by reading the id column alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pandas.util import hash_array

from pipelines.filter.parse import parse_filter
from pipelines.rows.schemas import ROW, decode_text
from pipelines.stages.read import by_row_group, read_row_group, shard_rows
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.storage.options import StoreSpec


class Repeat(NamedTuple):
    """A row whose id an earlier row, in the order of the plan, has already."""

    shard: str
    file: str
    row: int
    first_file: str
    first_row: int


def find_duplicates(
    shards: pa.Table,
    id_column: str,
    filter_text: str | None,
    settled: Mapping[str, set[int]],
    stores: Sequence[StoreSpec] = (),
) -> Iterator[Repeat]:
    """Find every row whose id stands in an earlier row that the job reads too.

    Holds 24 bytes a row at most: a first reading keeps hashes, and only where two are equal a second one compares the
    ids. A row group that is damaged is passed over; its shards fail when the job reads it.

    Args:
        shards: the plan; which of two rows is the earlier one follows from its order.
        id_column: its column of text or whole numbers; nulls, and text that is not UTF-8, repeat nothing.
        filter_text: the job's filter; rows that it leaves out count for nothing.
        settled: for a shard, the rows that were found to repeat an id before; they count for nothing either.
        stores: options of the stores that the corpus lies in.
    """
    hashes = [_hash(ids) for _, ids, _ in _read_ids(shards, id_column, filter_text, settled, stores)]
    if not hashes:
        return
    every = np.sort(np.concatenate(hashes))
    suspects = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(suspects):
        return
    del every, hashes
    seen: dict[Any, tuple[str, int]] = {}
    for shard, ids, rows in _read_ids(shards, id_column, filter_text, settled, stores):
        for i in np.flatnonzero(np.isin(_hash(ids), suspects)):
            place = (shard["file"], int(rows[i]))
            first = seen.setdefault(ids[i], place)
            if first != place:
                yield Repeat(shard["shard"], *place, *first)


def _read_ids(
    shards: pa.Table,
    id_column: str,
    filter_text: str | None,
    settled: Mapping[str, set[int]],
    stores: Sequence[StoreSpec],
) -> Iterator[tuple[dict[str, Any], NDArray[Any], NDArray[np.int64]]]:
    """Give, for each shard, the ids that count, and their rows' numbers in the file."""
    columns = sorted({id_column} | (parse_filter(filter_text)[1] if filter_text else set()))
    for group in by_row_group(shards):
        try:
            row_group = read_row_group(locate(group[0]["file"], stores), group[0]["row_group"], columns)
        except (OSError, pa.ArrowException):
            continue
        for shard in group:
            table = shard_rows(row_group, shard, filter_text)
            ids: list[Any] = []
            for chunk in table[id_column].chunks:
                values, bad = (chunk.to_pylist(), {}) if pa.types.is_integer(chunk.type) else decode_text(chunk)
                ids += [None if i in bad else value for i, value in enumerate(values)]
            rows, passed = table[ROW].to_numpy(), settled.get(shard["shard"], set())
            counts = [row_id is not None and row not in passed for row_id, row in zip(ids, rows, strict=True)]
            yield shard, np.array(ids, object)[counts], rows[counts]


def _hash(ids: NDArray[Any]) -> NDArray[np.uint64]:
    if len(ids) and isinstance(ids[0], int):
        ids = ids.astype(np.int64 if min(ids) < 0 else np.uint64)
    return hash_array(ids)  # pyright: ignore[reportCallIssue]  (pandas loads it by name)
