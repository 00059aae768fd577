"""Open the Parquet files of the input. Plan, run and verification all open them here, and so see the same types."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.parquet.column_chunks import find_column_chunks, has_sound_statistics
from pipelines.corpus.parquet.pruning import matching_row_groups
from pipelines.corpus.parquet.unreadable import UnsupportedInputError, unsupported_input
from pipelines.corpus.parquet.wide_integers import narrow_wide_integers
from pipelines.formatting import excerpt
from pipelines.rows import without_views

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.corpus.parquet.column_chunks import ColumnChunk

# The chunks of the leaves of a column, by path; None if they are not found in the footer.
_Leaves = dict[str, "list[ColumnChunk] | None"]

_TAIL_BYTES = 2**16  # most footers are smaller, so one request reads them
_STREAM_BYTES = 2**22  # read at once of each column of a row group that is read in batches
_END = 8  # bytes after the footer: its length, and the magic number


@dataclass(frozen=True)
class Footer:
    """What the footer of an input file says.

    Attributes:
        metadata: rows and row groups.
        schema: the columns, with the types in which they are read.
        unreadable: for each column that cannot be read, what is wrong, and the next step.
        sound: the columns whose statistics can be read; of the others, they must not be accessed.
        row_groups: the row groups that the filter may match, by the statistics of the footer.
        column_bytes: for each column that is read, its size in each row group without compression, as far as the footer
            tells.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    unreadable: dict[str, str]
    sound: frozenset[str]
    row_groups: list[int]
    column_bytes: dict[str, list[int]]


def open_parquet(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read row groups.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    with unsupported_input():
        try:
            return _open(source, pre_buffer=True)
        except pa.ArrowException:
            metadata, _ = _read_metadata(_read_footer_bytes(source))
            return _open(source, pre_buffer=True, metadata=metadata)


def open_to_stream(source: pa.NativeFile, metadata: pq.FileMetaData) -> pq.ParquetFile:
    """Open an input file, to read row groups in batches, without loading all of their columns first."""
    return _open(source, pre_buffer=False, buffer_size=_STREAM_BYTES, metadata=metadata)


def open_without_arrow_schema(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read columns in the types of Parquet instead of those that Arrow stored with them."""
    return _open(source, pre_buffer=True, metadata=_parse(without_arrow_schema(_read_footer_bytes(source))))


def read_footer(source: pa.NativeFile, columns: Collection[str] = (), filter_text: str | None = None) -> Footer:
    """Read the footer of an input file.

    Args:
        source: the file.
        columns: the columns that will be read. Those in the file are checked, without reading their data.
        filter_text: the filter of the rows.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    with unsupported_input():
        footer = _read_footer_bytes(source)
        metadata, wide = _read_metadata(footer)
        # without pre-buffering, and with a buffer, so that checking a column reads no more than its first bytes
        zeros = pa.PythonFile(_ZeroBytes(source.size()), mode="r")
        file = _open(zeros, pre_buffer=False, buffer_size=4096, metadata=metadata)
        schema = schema_as_read(file)
    unreadable = dict.fromkeys(wide, _convert_first("integers of 128 bits"))
    unreadable |= dict.fromkeys(_columns_of_type(file, "INTERVAL"), _convert_first("Parquet's type INTERVAL"))
    chunks = _find_chunks(file, [name for name in columns if name in schema.names], footer)
    if metadata.num_row_groups:
        unreadable |= _find_unreadable(file, chunks)
    readable = set(columns) - unreadable.keys()
    sound = frozenset(name for name in readable & chunks.keys() if has_sound_statistics(chunks[name], metadata, name))
    row_groups = list(range(metadata.num_row_groups))
    if filter_text is not None and row_groups and unreadable.keys().isdisjoint(columns):
        row_groups = matching_row_groups(without_arrow_schema(footer), filter_text, sound)
    sizes = {
        name: [sum(chunk.size_bytes for chunk in group) for group in zip(*leaves.values(), strict=True)]
        for name, leaves in chunks.items()
        if all(leaves.values())
    }
    return Footer(metadata, schema, unreadable, sound, row_groups, sizes)


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
    paths = [leaf.path for leaf in leaves if logical_type in (leaf.logical_type.type, leaf.converted_type)]
    names = file.schema_arrow.names if paths else []
    return [max((name for name in names if f"{path}.".startswith(f"{name}.")), key=len) for path in paths]


def _find_chunks(file: pq.ParquetFile, columns: Collection[str], footer: bytes) -> dict[str, _Leaves]:
    """Find the chunks of columns in the bytes of a footer."""
    found: dict[str, _Leaves] = {name: {} for name in columns}
    for leaf in (file.schema.column(i).path for i in range(len(file.schema))):
        for name, leaves in found.items():
            if leaf == name or leaf.startswith(f"{name}."):
                path = [part for part in (name, *leaf[len(name) + 1 :].split(".")) if part]
                leaves[leaf] = find_column_chunks(footer, path, file.metadata.num_row_groups)
    return found


def _find_unreadable(file: pq.ParquetFile, chunks: dict[str, _Leaves]) -> dict[str, str]:
    """Return what is wrong with columns that are encrypted, or compressed with an unknown codec.

    Arrow's metadata of such a column must not be accessed, because that ends the process. Reading the column raises an
    error instead, before any data are needed; the given file has only zeros. This takes 1 ms for each row group, so
    only the first one is read if the others have the same codecs.
    """
    alike = {name: _has_same_codecs(leaves) for name, leaves in chunks.items()}
    if not _check_columns(file, 0, list(chunks)):
        chunks = {name: leaves for name, leaves in chunks.items() if not alike[name]}
    found: dict[str, str] = {}
    for name in chunks:
        numbers = range(1 if alike[name] else file.metadata.num_row_groups)
        if problem := next(filter(None, (_check_columns(file, number, [name]) for number in numbers)), None):
            found[name] = problem
    return found


def _check_columns(file: pq.ParquetFile, row_group: int, columns: list[str]) -> str | None:
    try:
        with unsupported_input():
            file.read_row_group(row_group, columns=columns, use_threads=False)
    except UnsupportedInputError as error:
        return str(error)
    except (OSError, pa.ArrowException):
        pass  # because zeros are not data
    return None


def _has_same_codecs(leaves: _Leaves) -> bool:
    """Return whether the bytes of a footer show that a column has the same codecs in all row groups."""
    return all(chunks is not None and len({chunk.codec for chunk in chunks}) <= 1 for chunks in leaves.values())


class _ZeroBytes(io.RawIOBase):
    """A file of zeros."""

    def __init__(self, size: int):
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        data = bytes(left if size < 0 else min(size, left))
        self._position += len(data)
        return data


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
        return _parse(footer), []
    except pa.ArrowException as error:
        if narrowed := narrow_wide_integers(footer):
            return _parse(narrowed.footer), narrowed.columns
        _parse(without_arrow_schema(footer))  # raises an error of its own if the footer is damaged
        raise UnsupportedInputError(
            f"contains a type that Arrow can write but not read ({excerpt(str(error), 200)}); use another type"
        ) from None


def _parse(footer: bytes) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(b"PAR1" + footer))


def without_arrow_schema(footer: bytes) -> bytes:
    """Rename the key of Arrow's schema in a footer, so that readers do not find it."""
    return footer.replace(b"\x0cARROW:schema", b"\x0c(not)_schema")


def _convert_first(what: str) -> str:
    return f"contains {what}, which Arrow cannot read; write it again with another type, such as text"
