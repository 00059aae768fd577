"""How a part is serialised, and the digests by which the ledger identifies its rows and bytes."""

from __future__ import annotations

import base64
import hashlib
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.output.layout import PART
from pipelines.rows import REJECTED, id_texts
from pipelines.storage import encode_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.storage import Location

# A reader loads a column of a row group as one array, and indexes its values with 31 bits.
_MAX_VALUES_PER_ROW_GROUP = 2**28

REJECTED_FILE = pa.schema([pa.field("file", pa.string(), nullable=False), *REJECTED])


_LISTING = pa.schema([("name", pa.string()), ("size", pa.int64())])
_LISTED_AT_ONCE = 10_000  # files, as Python objects

# Keys in the footer of a part.
FINGERPRINT = b"xlm:fingerprint"
SHARD_RECORD = b"xlm:record"  # what the ledger records of the shard


def part_bytes(table: pa.Table, record: str | None = None) -> pa.Buffer:
    """Serialise rows as a Parquet file with a checksum for each page. The same rows give the same bytes.

    Args:
        table: the rows.
        record: what the footer says about the shard, as JSON.
    """
    values_per_row = max((_count_values(column) for column in table.columns), default=0) // max(len(table), 1) + 1
    num_rows = max(1, _MAX_VALUES_PER_ROW_GROUP // values_per_row)
    footer = {} if record is None else {SHARD_RECORD.decode(): record}
    return encode_parquet(table, num_rows, footer, write_page_index=True, write_page_checksum=True)


def is_as_written(data: bytes, rows: pa.Table, schema: pa.Schema, record: str | None) -> bool:
    """Return whether `part_bytes` produces exactly these bytes for these rows, so that the file is intact.

    Page checksums are not enough: they do not cover the footer, such as the statistics by which readers skip pages, or
    the bytes between pages.

    Args:
        data: the file.
        rows: its rows, as Parquet returns them.
        schema: of the rows that were written.
        record: as for `part_bytes`.
    """
    try:
        return part_bytes(rows.cast(schema), record).equals(pa.py_buffer(data))
    except pa.ArrowNotImplementedError:  # Parquet does not return this column's type
        return False


def encode_schema(schema: pa.Schema) -> str:
    """Serialise a schema as text, as Parquet files do that Arrow writes."""
    return base64.b64encode(schema.serialize()).decode()


def decode_schema(text: str | bytes) -> pa.Schema:
    """Return the schema of `encode_schema`.

    Raises:
        ValueError, OSError: it is damaged.
    """
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))


def list_parts(folder: Location) -> pa.Table:
    """List the parts in a directory: a table with the columns `shard` and `size`, in no order."""
    found = ((part[1], size) for name, size in folder.scan() if (part := PART.fullmatch(name)))
    return listing_table(found).rename_columns(["shard", "size"])


def listing_table(files: Iterator[tuple[str, int]]) -> pa.Table:
    """Convert names and sizes of files to a table with the columns `name` and `size`, some of them at a time."""
    tables = [_LISTING.empty_table()]
    while some := list(islice(files, _LISTED_AT_ONCE)):
        tables.append(pa.table([*zip(*some, strict=True)], _LISTING.names).cast(_LISTING))
    return pa.concat_tables(tables).combine_chunks()


def sha256(data: bytes | pa.Buffer) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def id_keys(ids: pa.Array) -> list[bytes]:
    """Convert row ids to the bytes of their texts; see `id_texts`."""
    values: list[bytes | None] = id_texts(ids).cast(pa.large_binary()).to_pylist()
    return [b"null" if value is None else value for value in values]


def digest_ids(ids: pa.Array) -> str:
    """Return a digest of row ids in order. Verification compares it, and the row count, with the ledger's record."""
    return hashlib.sha256(b"".join(key + b"\0" for key in id_keys(ids))).hexdigest()[:32]


def _count_values(column: pa.ChunkedArray) -> int:
    """Count the values in a column of vectors or of lists of vectors; 0 for other types."""
    if pa.types.is_list(column.type) and pa.types.is_fixed_size_list(column.type.value_type):
        return sum(len(chunk.flatten()) for chunk in column.chunks) * column.type.value_type.list_size
    return len(column) * column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
