"""Open the Parquet files of the input. Plan, run and verification all open them here, and so see the same types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.unreadable import UnsupportedInputError, unsupported_input
from pipelines.corpus.wide_integers import narrow_wide_integers
from pipelines.rows import without_views

if TYPE_CHECKING:
    from collections.abc import Collection

_TAIL_BYTES = 2**16  # most footers are smaller, so one request reads them
_END = 8  # bytes after the footer: its length, and the magic number


@dataclass(frozen=True)
class Footer:
    """What the footer of an input file says.

    Attributes:
        metadata: rows and row groups.
        schema: the columns, with the types in which they are read.
        unreadable: for each column that cannot be read, what is wrong, and the next step.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    unreadable: dict[str, str]


def open_parquet(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read row groups.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    with unsupported_input():
        try:
            return _open(source, pre_buffer=True)
        except pa.ArrowNotImplementedError:
            metadata, _ = _read_metadata(_read_footer_bytes(source))
            return _open(source, pre_buffer=True, metadata=metadata)


def open_without_arrow_schema(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read columns in the types of Parquet instead of those that Arrow stored with them."""
    footer = _read_footer_bytes(source).replace(b"\x0cARROW:schema", b"\x0c(not)_schema")
    return _open(source, pre_buffer=True, metadata=pq.read_metadata(pa.BufferReader(b"PAR1" + footer)))


def read_footer(source: pa.NativeFile, columns: Collection[str] = ()) -> Footer:
    """Read the footer of an input file.

    Args:
        source: the file.
        columns: the columns that will be read. Those in the file are checked, without reading their data.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    with unsupported_input():
        metadata, wide = _read_metadata(_read_footer_bytes(source))
        file = _open(pa.BufferReader(b""), metadata=metadata)
        schema = schema_as_read(file)
    unreadable = dict.fromkeys(wide, _convert_first("integers of 128 bits"))
    unreadable |= dict.fromkeys(_columns_of_type(file, "INTERVAL"), _convert_first("Parquet's type INTERVAL"))
    if metadata.num_row_groups:
        for name in columns:
            if name in schema.names and (problem := _check_column(file, name)):
                unreadable[name] = problem
    return Footer(metadata, schema, unreadable)


def schema_as_read(file: pq.ParquetFile) -> pa.Schema:
    """Return the schema of a file as its columns are read.

    Views are replaced by their plain layout, because Arrow cannot select rows of views. Enumerations, which Arrow reads
    as bytes, are strings.
    """
    enums = _columns_of_type(file, "ENUM")
    return pa.schema(
        [
            field.with_type(
                pa.string() if field.name in enums and pa.types.is_binary(field.type) else without_views(field.type)
            )
            for field in file.schema_arrow
        ]
    )


def _open(source: pa.NativeFile, **options: Any) -> pq.ParquetFile:
    # In microseconds, 64 bits represent all years of INT96; in nanoseconds, only 1677 to 2262, and others wrap around.
    return pq.ParquetFile(source, page_checksum_verification=True, coerce_int96_timestamp_unit="us", **options)


def _columns_of_type(file: pq.ParquetFile, logical_type: str) -> list[str]:
    """List the columns that contain, at any depth, values of a Parquet logical type."""
    leaves = [file.schema.column(i) for i in range(len(file.schema))]
    return [leaf.path.split(".")[0] for leaf in leaves if leaf.logical_type.type == logical_type]


def _check_column(file: pq.ParquetFile, name: str) -> str | None:
    """Return what is wrong with a column that is encrypted, or compressed with an unknown codec.

    Arrow's metadata of such a column must not be accessed, because that ends the process. Reading the column raises an
    error instead, before any data are needed, and the given file has none.
    """
    try:
        with unsupported_input():
            file.read_row_group(0, columns=[name])
    except UnsupportedInputError as error:
        return str(error)
    except (OSError, pa.ArrowException):
        pass  # because the file has no data
    return None


def _read_footer_bytes(source: pa.NativeFile) -> bytes:
    """Read the end of a file: its footer, the footer's length and the magic number."""
    size = source.size()
    tail = source.read_at(min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    if len(tail) < length <= size:
        tail = source.read_at(length, size - length)
    return tail[-length:]


def _read_metadata(footer: bytes) -> tuple[pq.FileMetaData, list[str]]:
    """Parse a footer. Returns the metadata, and the columns that contain integers of 128 bits."""
    try:
        return pq.read_metadata(pa.BufferReader(b"PAR1" + footer)), []
    except pa.ArrowNotImplementedError:
        narrowed = narrow_wide_integers(footer)
        if narrowed is None:
            raise
        return pq.read_metadata(pa.BufferReader(b"PAR1" + narrowed.footer)), narrowed.columns


def _convert_first(what: str) -> str:
    return f"contains {what}, which Arrow cannot read; write it again with another type, such as text"
