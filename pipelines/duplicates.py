"""Find rows that repeat an id, over the whole corpus, by reading the id column alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_array

from pipelines.columns import ROW, decode_text
from pipelines.filters import parse_filter
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Repeat(NamedTuple):
    """A row whose id an earlier row, in the order of the plan, has already."""

    shard: str
    file: str
    row: int
    first_file: str
    first_row: int


def find_duplicates(shards: pa.Table, id_column: str, filter_text: str | None) -> list[Repeat]:
    """Find every row whose id stands in an earlier row that the job reads too.

    Holds 8 bytes a row: a first reading keeps hashes, and only where two are equal a second one compares the ids.

    Args:
        shards: the plan.
        id_column: its column of text or whole numbers; nulls repeat nothing.
        filter_text: the job's filter; rows that it leaves out count for nothing.
    """
    hashes: list[NDArray[np.uint64]] = []
    for _, ids, _ in _read_ids(shards, id_column, filter_text):
        hashes.append(_hash(ids))
    if not hashes:
        return []
    every = np.sort(np.concatenate(hashes))
    suspects = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(suspects):
        return []
    del every
    seen: dict[Any, tuple[str, int]] = {}
    repeats: list[Repeat] = []
    for (group, ids, rows), group_hashes in zip(_read_ids(shards, id_column, filter_text), hashes, strict=True):
        for i in np.flatnonzero(np.isin(group_hashes, suspects)):
            row_id, row = ids[i], int(rows[i])
            first = seen.setdefault(row_id, (group[0]["file"], row))
            if first != (group[0]["file"], row):
                shard = next(s for s in reversed(group) if s["file_row"] <= row)
                repeats.append(Repeat(shard["shard"], shard["file"], row, *first))
    return repeats


def _read_ids(
    shards: pa.Table, id_column: str, filter_text: str | None
) -> Iterator[tuple[list[dict[str, Any]], NDArray[Any], NDArray[np.int64]]]:
    """Give, for each row group, its shards, the ids that are not null, and their rows' numbers in the file."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for shard in shards.to_pylist():
        groups.setdefault((shard["file"], shard["row_group"]), []).append(shard)
    columns = {id_column} | (parse_filter(filter_text)[1] if filter_text else set())
    opened: tuple[str, pq.ParquetFile] | None = None
    for (url, number), group in groups.items():
        if opened is None or opened[0] != url:
            location = locate(url)
            opened = (url, pq.ParquetFile(location.fs.open_input_file(location.path), pre_buffer=True))
        table = opened[1].read_row_group(number, columns=sorted(columns))
        table = table.append_column(ROW, pa.array(np.arange(len(table), dtype=np.int64) + group[0]["file_row"]))
        if filter_text:
            table = table.filter(parse_filter(filter_text, table.schema)[0])
        values: list[Any] = []
        for chunk in table[id_column].chunks:
            values += chunk.to_pylist() if pa.types.is_integer(chunk.type) else decode_text(chunk)[0]
        ids = np.array(values, object)
        present = np.array([value is not None for value in values], bool)
        yield group, ids[present], table[ROW].to_numpy()[present]


def _hash(ids: NDArray[Any]) -> NDArray[np.uint64]:
    if len(ids) and isinstance(ids[0], int):
        ids = ids.astype(np.int64 if min(ids) < 0 else np.uint64)
    return hash_array(ids)  # pyright: ignore[reportCallIssue]  (pandas loads it by name)
