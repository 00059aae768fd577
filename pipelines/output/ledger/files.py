"""The files of the ledger: how records are encoded, and which files are refused when they are read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from pipelines.errors import FatalError, RetryableError
from pipelines.output.layout import SHARD_ID, part_name
from pipelines.output.shard_record import MAY_BE_NULL, RECORD, SHARD_COUNTS, ShardRecord
from pipelines.rows import LANG_COUNTS, NUM_LENGTH_BINS, LangCounts
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# When a record was committed: nanoseconds since the epoch, by the clock of the run that appended it. A shard is in a
# commit once, so records of one shard and one time are copies of each other.
COMMITTED = "committed_ns"
LEDGER_FILE = RECORD.append(pa.field(COMMITTED, pa.int64(), nullable=False))

# A record has up to 3 kB in memory, most of it lengths by language; a file is read one row group at a time.
_ROWS_PER_ROW_GROUP = 2_000

_READ_THREADS = 8  # reading a small file is mostly waiting


def to_table(records: Sequence[ShardRecord], committed_ns: int) -> pa.Table:
    """Convert records that are committed at one time to rows of a ledger file."""
    table = pa.Table.from_pylist([record.to_row() for record in records], RECORD)
    return table.append_column(LEDGER_FILE.field(COMMITTED), pa.array([committed_ns] * len(table), pa.int64()))


def encode_files(tables: Iterable[pa.Table], max_bytes: int) -> Iterator[pa.Buffer]:
    """Encode rows as one or more files. A file ends with the row group that exceeds `max_bytes`."""
    groups = _regroup(tables)
    for first in groups:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, LEDGER_FILE, compression="zstd") as writer:
            for group in chain([first], groups):
                writer.write_table(group)
                if sink.tell() >= max_bytes:
                    break
        yield sink.getvalue()


def _regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Split and join tables, such that each has `_ROWS_PER_ROW_GROUP` rows, except for the last one."""
    pending = LEDGER_FILE.empty_table()
    for table in tables:
        pending = pa.concat_tables([pending, table])
        while len(pending) >= _ROWS_PER_ROW_GROUP:
            yield pending.slice(0, _ROWS_PER_ROW_GROUP).combine_chunks()
            pending = pending.slice(_ROWS_PER_ROW_GROUP)
    if len(pending):
        yield pending.combine_chunks()


class ReplacedError(RetryableError):
    """A run replaced files of the ledger while they were read."""


def read_ahead(files: Iterable[Location]) -> Iterator[tuple[Location, pa.Buffer]]:
    """Read files in order, a few of them ahead of the consumer.

    Raises:
        ReplacedError: a file was deleted.
    """
    return map_in_threads(lambda file: (file, _read(file)), files, _READ_THREADS)


def _read(file: Location) -> pa.Buffer:
    try:
        return file.read_buffer()
    except FileNotFoundError:
        raise ReplacedError(f"{file.url}: deleted by a run while it was read; run the same command again") from None


def read_rows(
    location: Location, data: pa.Buffer, columns: Sequence[str], wanted: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Read some columns of a ledger file, one row group at a time.

    Args:
        location: the file.
        data: its content.
        columns: the columns.
        wanted: the numbers of rows, in order; only row groups that contain one of them are read. All by default.

    Yields:
        The number of the first row of a row group, and its rows.

    Raises:
        FatalError: the file is damaged.
    """
    with damaged_file_error(location):
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = pa.schema([LEDGER_FILE.field(name) for name in columns])
        file.schema_arrow.empty_table().select(LEDGER_FILE.names)
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if wanted is None or np.diff(np.searchsorted(wanted, [first, end])):
                rows = file.read_row_group(group, list(columns), use_threads=False).select(columns).cast(schema)
                _check(rows)
                if len(rows) != end - first:
                    raise ValueError("fewer rows than the footer says")
                yield first, rows.combine_chunks()
            first = end


@contextmanager
def damaged_file_error(location: Location) -> Generator[None]:
    """Convert errors in a ledger file to one that names the file and what to do."""
    try:
        yield
    # Other columns, text that is not UTF-8, or not Parquet. The bytes are in memory, so OSError is no disk error.
    except (LookupError, ValueError, TypeError, OSError, pa.ArrowException):
        raise FatalError(
            f"{location.url}: a damaged ledger file; delete it, and the next run computes its shards again"
        ) from None


def to_records(rows: pa.Table) -> Iterator[ShardRecord]:
    """Convert rows that `read_rows` returned, and so checked. Without the column `langs`, the records have none."""

    def values(name: str) -> Iterable[Any]:
        if name not in rows.column_names:
            return repeat((), len(rows))
        if name == "langs":
            return (tuple(map(LangCounts.from_row, langs)) for langs in rows[name].to_pylist())
        return _to_dicts(rows[name]) if pa.types.is_map(rows[name].type) else rows[name].to_pylist()

    return map(ShardRecord, *(values(field.name) for field in fields(ShardRecord)))


def _to_dicts(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    """Convert a column of maps, in a third of the time that Arrow takes.

    Raises:
        ValueError: a key is repeated.
    """
    numbers, keys, values = map_entries(column)
    found: list[dict[str, Any]] = [{} for _ in range(len(column))]
    for number, key, value in zip(numbers.tolist(), keys.to_pylist(), values.to_pylist(), strict=True):
        found[number][key] = value
    if sum(map(len, found)) < len(numbers):
        raise ValueError("a map with a repeated key")
    return found


def map_entries(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.ChunkedArray, pa.ChunkedArray]:
    """Return the entries of a column of maps: for each, the number of its row, its key and its value."""
    fields = [("key", column.type.key_type), ("value", column.type.item_type)]
    lists = column.cast(pa.list_(pa.struct(fields)))
    entries = pc.list_flatten(lists)
    numbers = np.repeat(np.arange(len(column)), pc.list_value_length(lists).to_numpy())
    return numbers, pc.struct_field(entries, "key"), pc.struct_field(entries, "value")


def list_langs(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.ChunkedArray]:
    """Return the languages in a column of counts by language: for each, the number of its row, and its code."""
    numbers = np.repeat(np.arange(len(column)), pc.list_value_length(column).to_numpy())
    return numbers, pc.struct_field(pc.list_flatten(column), "lang")


def _check(rows: pa.Table) -> None:
    """Check what `ShardRecord.from_row` checks, and that lengths can be added up.

    Raises:
        ValueError: a row is not a record of a committed shard.
    """
    rows.validate(full=True)
    names = rows.column_names
    is_valid = not any(rows[name].null_count for name in names if name not in MAY_BE_NULL)
    is_valid &= all((pc.min(rows[name]).as_py() or 0) >= 0 for name in names if name in SHARD_COUNTS)
    if is_valid and "shard" in names:
        is_valid = pc.all(pc.match_substring_regex(rows["shard"], f"^({SHARD_ID.pattern})$")).as_py() is not False
    if is_valid and {"shard", "part"} <= {*names}:
        prefix, suffix = part_name("\n").split("\n")
        parts = pc.binary_join_element_wise(prefix, rows["shard"], suffix, "")
        is_valid = pc.all(pc.equal(parts, rows["part"])).as_py() is not False
    if is_valid and "langs" in names:
        langs = pc.list_flatten(rows["langs"])
        lengths = pc.struct_field(langs, "lengths")
        sizes = pc.list_value_length(lengths).drop_null().unique().to_pylist()
        is_valid = {*sizes} <= {0, NUM_LENGTH_BINS} and not pc.list_flatten(lengths).null_count
        is_valid &= not any(pc.struct_field(langs, name).null_count for name in ("lang", *LANG_COUNTS))
    for name in {"reasons", "rejected_langs", "segmenters"}.intersection(names) if is_valid else ():
        _, keys, values = map_entries(rows[name])
        is_valid &= not keys.null_count and not values.null_count
    if not is_valid:
        raise ValueError("not a record of a committed shard")
