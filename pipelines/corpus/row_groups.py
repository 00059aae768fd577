"""Read a row group of an input file, and select the rows of a shard in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.corpus.parquet import open_parquet, open_without_arrow_schema, schema_as_read, unsupported_input
from pipelines.filter import matching_rows
from pipelines.rows import ROW, cast_column, has_list_views

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from pipelines.corpus.planned_shard import PlannedShard
    from pipelines.storage import Location

_TOO_LARGE = "chunked array"  # part of Arrow's error for over 2 GiB of values in a nested column


def read_row_group(location: Location, shard: PlannedShard, columns: list[str]) -> pa.Table:
    """Read some columns of a shard's row group, with the types of `schema_as_read`.

    Columns that the file does not contain are among the shard's constants.

    Raises:
        OSError, pa.ArrowException: the file does not exist or is damaged.
        UnsupportedInputError: Arrow cannot read one of the columns.
        FatalError, RetryableError: see `Location`.
    """

    def read() -> pa.Table:
        with location.fs.open_input_file(location.path) as source, unsupported_input():
            file = open_parquet(source)
            schema, stored = schema_as_read(file), file.schema_arrow
            names = [name for name in columns if name in schema.names or name not in shard.constants]
            # Arrow's conversion of list views writes wrong offsets, so they are read as the lists that Parquet stores.
            views = [name for name in names if name in stored.names and has_list_views(stored.field(name).type)]
            table = _read(file, shard.row_group, [name for name in names if name not in views])
            if views:
                read_as_lists = _read(open_without_arrow_schema(source), shard.row_group, views)
                for name in views:
                    table = table.append_column(name, read_as_lists[name])
            return _convert(table, schema)

    table = location.with_retries(read)
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(shard.constants[name], len(table)))
    return table


def select_rows(row_group: pa.Table, shard: PlannedShard, filter_text: str | None) -> pa.Table:
    """Select a shard's rows from its row group, add their row numbers in the file, and apply the filter."""
    rows = row_group.slice(shard.first_row, shard.num_rows)
    numbers = np.arange(shard.file_row, shard.file_row + len(rows), dtype=np.int64)
    rows = rows.append_column(ROW, pa.array(numbers))
    return rows if filter_text is None else rows.filter(matching_rows(filter_text, rows))


def _read(file: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
    """Read a row group at once, or, if a nested column has over 2 GiB of values, in ever smaller batches of rows."""
    try:
        return file.read_row_group(number, columns=columns)
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
