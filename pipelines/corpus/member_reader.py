"""Read the members of shards from the input files."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.corpus.parquet import (
    list_views,
    open_parquet,
    open_to_stream,
    open_without_arrow_schema,
    schema_as_read,
    unsupported_input,
)
from pipelines.filter import matching_rows
from pipelines.rows import ROW, cast_column
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    import pyarrow.parquet as pq

    from pipelines.corpus.planned_shard import Member
    from pipelines.storage import Location, StoreSettings

_SMALL_FILE_BYTES = 2**22  # read in one request
_SMALL_ROW_GROUP_BYTES = 2**18  # read in one thread
_BATCH_ROWS = 8_192
_TOO_FEW = "the row group has fewer rows than the footer says"
_TOO_LARGE = "chunked array"  # part of Arrow's error for over 2 GiB of values in a nested column


class MemberReader:
    """Reads some columns of members, with the types of `schema_as_read`.

    A row group that is cut into several members is read once, in batches, if its members are read in order. Columns
    that a file does not contain are among the member's constants.

    Args:
        columns: the columns to read.
        stores: options of the stores that contain the corpus.
    """

    def __init__(self, columns: Sequence[str], stores: Sequence[StoreSettings] = ()):
        self._columns, self._stores = list(columns), stores
        self._stream: _Stream | None = None

    def __enter__(self) -> MemberReader:
        """Return the reader, whose file is closed at the end of a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        """Close the file."""
        self._close()

    def read(self, member: Member) -> pa.Table:
        """Read the rows of a member.

        Raises:
            OSError, pa.ArrowException: the file does not exist or is damaged.
            IndexError: the file has fewer row groups or rows.
            UnsupportedInputError: Arrow cannot read one of the columns.
            FatalError, RetryableError: see `Location`.
        """
        location = locate(member.file, self._stores)
        table = location.with_retries(lambda: self._read(location, member))
        for name in self._columns:
            if name in member.constants:
                table = table.append_column(name, pa.repeat(member.constants[name], len(table)))
        return table

    def _read(self, location: Location, member: Member) -> pa.Table:
        try:
            if self._stream is None or not self._stream.can_read(member):
                self._close()
                names = [name for name in self._columns if name not in member.constants]
                self._stream = _Stream(location, member, names)
            table = self._stream.read(member)
        except BaseException:
            self._close()
            raise
        if self._stream.is_at_end:
            self._close()
        return table

    def _close(self) -> None:
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
        self._stream = None


class _Stream:
    """A row group that is read from its start to its end."""

    def __init__(self, location: Location, member: Member, columns: list[str]):
        self._key = (member.file_info, member.row_group)
        self._position = 0
        self._source = _open(location, member.size_bytes)
        try:
            with unsupported_input():
                file = open_parquet(self._source)
                self._num_rows = file.metadata.row_group(member.row_group).num_rows
                self._schema = schema_as_read(file)
                views = [name for name in list_views(file) if name in columns]
                if member.num_rows < self._num_rows and columns and not views:
                    self._whole = None
                    self._batches = open_to_stream(self._source, file.metadata).iter_batches(
                        min(_BATCH_ROWS, member.num_rows), row_groups=[member.row_group], columns=columns
                    )
                else:
                    self._whole = _read_row_group(self._source, file, member.row_group, columns, views)
        except BaseException:
            self._source.close()
            raise
        self._rest: pa.RecordBatch | None = None  # of the last batch

    def can_read(self, member: Member) -> bool:
        """Whether a member is in the row group, after the rows that were read."""
        return self._key == (member.file_info, member.row_group) and self._position <= member.first_row

    @property
    def is_at_end(self) -> bool:
        """Whether all rows were read."""
        return self._position >= self._num_rows

    def read(self, member: Member) -> pa.Table:
        """Read the rows of a member."""
        if member.first_row + member.num_rows > self._num_rows:
            raise IndexError(f"row {self._num_rows}")
        if self._whole is not None:
            self._position = member.first_row + member.num_rows
            rows = self._whole.slice(member.first_row, member.num_rows)
            if len(rows) < member.num_rows:
                raise pa.ArrowInvalid(_TOO_FEW)
            return _convert(rows, self._schema)
        with unsupported_input():
            for batch in self._next_batches(member.first_row - self._position):
                del batch  # rows between two members
            return _convert(pa.Table.from_batches(list(self._next_batches(member.num_rows))), self._schema)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _next_batches(self, num_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows."""
        while num_rows > 0:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                raise pa.ArrowInvalid(_TOO_FEW)
            taken = batch.slice(0, num_rows)
            self._rest = batch.slice(len(taken)) if len(taken) < len(batch) else None
            self._position += len(taken)
            num_rows -= len(taken)
            yield taken


def join_alike(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join consecutive tables that have the same columns, so that many small ones are processed at once."""
    for _, alike in groupby(tables, lambda table: table.schema):
        yield pa.concat_tables(alike)


def select_rows(table: pa.Table, first_position: int, filter_text: str | None) -> pa.Table:
    """Add to the rows of a member their positions in the shard, and apply the filter."""
    positions = np.arange(first_position, first_position + len(table), dtype=np.int64)
    rows = table.append_column(ROW, pa.array(positions))
    return rows if filter_text is None else rows.filter(matching_rows(filter_text, rows))


def _open(location: Location, size_bytes: int) -> pa.NativeFile:
    source = location.fs.open_input_file(location.path)
    if size_bytes > _SMALL_FILE_BYTES:
        return source
    with source:
        return pa.BufferReader(source.read_buffer())


def _read_row_group(
    source: pa.NativeFile, file: pq.ParquetFile, number: int, columns: list[str], views: list[str]
) -> pa.Table:
    """Read a whole row group at once."""
    table = _read(file, number, [name for name in columns if name not in views])
    if views:  # Arrow's conversion of list views writes wrong offsets, so they are read as the lists of Parquet
        read_as_lists = _read(open_without_arrow_schema(source), number, views)
        for name in views:
            table = table.append_column(name, read_as_lists[name])
    return table


def _read(file: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
    """Read a row group at once, or, if a nested column has over 2 GiB of values, in ever smaller batches of rows."""
    use_threads = file.metadata.row_group(number).total_byte_size > _SMALL_ROW_GROUP_BYTES
    try:
        return file.read_row_group(number, columns=columns, use_threads=use_threads)
    except pa.ArrowNotImplementedError as error:
        if _TOO_LARGE not in str(error):
            raise
    batch_size = file.metadata.row_group(number).num_rows
    while True:
        batch_size = max(1, batch_size // 4)
        try:
            batches = list(file.iter_batches(batch_size, row_groups=[number], columns=columns))
        except pa.ArrowNotImplementedError as error:
            if _TOO_LARGE not in str(error) or batch_size == 1:
                raise
        else:
            return pa.Table.from_batches(batches)


def _convert(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert columns to the types of `schema_as_read`."""
    for i, field in enumerate(table.schema):
        column, data_type = table.column(i), schema.field(field.name).type
        if field.type.equals(data_type):
            continue
        if pa.types.is_binary(field.type):  # not a cast, which would raise for text that is not UTF-8
            column = pa.chunked_array([chunk.view(data_type) for chunk in column.chunks], data_type)
        table = table.set_column(i, field.with_type(data_type), cast_column(column, data_type))
    return table
