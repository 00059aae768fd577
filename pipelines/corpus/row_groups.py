"""Read a row group of an input file, and select the rows of a shard in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.filter import parse_filter
from pipelines.rows import ROW

if TYPE_CHECKING:
    from pipelines.corpus.planned_shard import PlannedShard
    from pipelines.storage import Location


def read_row_group(location: Location, shard: PlannedShard, columns: list[str]) -> pa.Table:
    """Read some columns of a shard's row group. String views become plain strings: Arrow cannot filter views.

    Columns that the file does not contain are among the shard's constants.

    Raises:
        OSError, pa.ArrowException: the file does not exist or is damaged.
        FatalError, RetryableError: see `Location`.
    """

    def read() -> pa.Table:
        with location.fs.open_input_file(location.path) as source:
            file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
            constant = shard.constants.keys() - set(file.schema_arrow.names)
            return file.read_row_group(shard.row_group, columns=[name for name in columns if name not in constant])

    table = location.with_retries(read)
    for i, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(i, field.with_type(pa.large_string()), table.column(i).cast(pa.large_string()))
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(shard.constants[name], len(table)))
    return table


def select_rows(row_group: pa.Table, shard: PlannedShard, filter_text: str | None) -> pa.Table:
    """Select a shard's rows from its row group, add their row numbers in the file, and apply the filter."""
    rows = row_group.slice(shard.first_row, shard.num_rows)
    numbers = np.arange(shard.file_row, shard.file_row + len(rows), dtype=np.int64)
    rows = rows.append_column(ROW, pa.array(numbers))
    return rows if filter_text is None else rows.filter(parse_filter(filter_text, row_group.schema)[0])
