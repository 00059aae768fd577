"""Encode tables as Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping


def encode_parquet(
    table: pa.Table, row_group_size: int | None = None, footer: Mapping[str, str] | None = None, **options: Any
) -> pa.Buffer:
    """Encode a table as a Parquet file in memory, to be written with `Location.put`.

    A table without rows becomes a file without row groups: Hugging Face's `datasets` cannot read a row group of no
    rows, which `pyarrow.parquet.write_table` would write.

    Args:
        table: the table.
        row_group_size: maximum rows of a row group.
        footer: metadata of the file, in addition to that of the schema.
        options: passed to `pyarrow.parquet.ParquetWriter`.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", **options) as writer:
        if len(table):
            writer.write_table(table, row_group_size)
        writer.add_key_value_metadata(dict(footer or {}))
    return sink.getvalue()
