"""How a part is serialised, and the digests by which the ledger identifies its rows and bytes."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from pipelines.rows import REJECTED
from pipelines.storage import encode_parquet

# A reader loads a column of a row group as one array, and indexes its values with 31 bits.
_MAX_VALUES_PER_ROW_GROUP = 2**28

REJECTED_FILE = pa.schema([pa.field("file", pa.string(), nullable=False), *REJECTED])


def part_bytes(table: pa.Table) -> pa.Buffer:
    """Serialise rows as a Parquet file with a checksum for each page. The same rows give the same bytes."""
    values_per_row = max((_count_values(column) for column in table.columns), default=0) // max(len(table), 1) + 1
    num_rows = max(1, _MAX_VALUES_PER_ROW_GROUP // values_per_row)
    return encode_parquet(table, row_group_size=num_rows, write_page_index=True, write_page_checksum=True)


def sha256(data: bytes | pa.Buffer) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def id_keys(ids: pa.Array) -> list[bytes]:
    """Convert row ids to bytes: text as its stored bytes in any of Arrow's layouts, integers as decimal digits."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    values = (ids if pa.types.is_integer(ids.type) else ids.cast(pa.large_binary())).to_pylist()
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]


def digest_ids(ids: pa.Array) -> str:
    """Return a digest of row ids in order. Verification compares it, and the row count, with the ledger's record."""
    return hashlib.sha256(b"".join(key + b"\0" for key in id_keys(ids))).hexdigest()[:32]


def _count_values(column: pa.ChunkedArray) -> int:
    """Count the values in a column of vectors or of lists of vectors; 0 for other types."""
    if pa.types.is_list(column.type) and pa.types.is_fixed_size_list(column.type.value_type):
        return sum(len(chunk.flatten()) for chunk in column.chunks) * column.type.value_type.list_size
    return len(column) * column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
