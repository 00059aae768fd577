"""Open the Parquet files of the input. Plan, run and verification all open them here, and so see the same types."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.parquet.column_chunks import find_column_chunks, has_sound_statistics
from pipelines.corpus.parquet.pruning import matching_row_groups
from pipelines.corpus.parquet.unreadable import UnsupportedInputError, unsupported_input
from pipelines.corpus.parquet.wide_integers import narrow_wide_integers
from pipelines.formatting import excerpt
from pipelines.rows import has_list_views, without_views

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
        content: its bytes, to the end of the file.
        metadata: rows and row groups.
        schema: the columns, with the types in which they are read.
        readable: the columns that will be read, and can be.
        unreadable: for each column that cannot be read, what is wrong, and the next step.
        row_groups: the row groups that the filter may match, by the statistics of the footer.
        column_bytes: for some columns, their size in each row group without compression, as far as the footer tells.
    """

    content: bytes
    metadata: pq.FileMetaData
    schema: pa.Schema
    readable: frozenset[str]
    unreadable: dict[str, str]
    row_groups: Sequence[int]
    column_bytes: dict[str, list[int]]

    @cached_property
    def sound(self) -> frozenset[str]:
        """The columns whose statistics can be read; of the others, they must not be accessed."""
        chunks = _find_chunks(self.metadata, self.readable, self.content)
        return frozenset(name for name in chunks if has_sound_statistics(chunks[name], self.metadata, name))


def open_parquet(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read row groups.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    pre_buffer = not isinstance(source, pa.BufferReader)  # which is in memory already
    with unsupported_input():
        try:
            return _open(source, pre_buffer=pre_buffer)
        except pa.ArrowException:
            metadata, _ = _read_metadata(_read_footer_bytes(source))
            return _open(source, pre_buffer=pre_buffer, metadata=metadata)


def open_to_stream(source: pa.NativeFile, metadata: pq.FileMetaData) -> pq.ParquetFile:
    """Open an input file, to read row groups in batches, without loading all of their columns first."""
    return _open(source, pre_buffer=False, buffer_size=_STREAM_BYTES, metadata=metadata)


def open_without_arrow_schema(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an input file, to read columns in the types of Parquet instead of those that Arrow stored with them."""
    return _open(source, pre_buffer=True, metadata=_parse(without_arrow_schema(_read_footer_bytes(source))))


def read_footer(
    source: pa.NativeFile,
    columns: Collection[str] = (),
    filter_text: str | None = None,
    sized_columns: Collection[str] = (),
) -> Footer:
    """Read the footer of an input file.

    Args:
        source: the file.
        columns: the columns that will be read. Those in the file are checked, without reading their data.
        filter_text: the filter of the rows.
        sized_columns: those of these columns whose sizes are needed.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
        UnsupportedInputError: Arrow cannot read it.
    """
    with unsupported_input():
        content = _read_footer_bytes(source)
        metadata, wide = _read_metadata(content)
        # without pre-buffering, and with a buffer, so that checking a column reads nothing before its first bytes
        no_data = pa.PythonFile(_NoData(source.size()), mode="r")
        file = _open(no_data, pre_buffer=False, buffer_size=4096, metadata=metadata)
        schema = schema_as_read(file)
    unreadable = dict.fromkeys(wide, _convert_first("integers of 128 bits"))
    unreadable |= dict.fromkeys(_read_schema(file).intervals, _convert_first("Parquet's type INTERVAL"))
    columns = [name for name in dict.fromkeys(columns) if name in schema.names]
    if metadata.num_row_groups:
        unreadable |= _find_unreadable(file, columns, content)
    sizes: dict[str, list[int]] = {}
    for name, leaves in _find_chunks(metadata, [name for name in columns if name in sized_columns], content).items():
        if all(leaves.values()):
            sizes[name] = [sum(chunk.size_bytes for chunk in group) for group in zip(*leaves.values(), strict=True)]
    readable = frozenset(columns) - unreadable.keys()
    footer = Footer(content, metadata, schema, readable, unreadable, range(metadata.num_row_groups), sizes)
    if filter_text is None or not metadata.num_row_groups or len(readable) < len(columns):
        return footer
    return replace(footer, row_groups=matching_row_groups(without_arrow_schema(content), filter_text, footer.sound))


def schema_as_read(file: pq.ParquetFile) -> pa.Schema:
    """Return the schema of a file as its columns are read.

    Views are replaced by their plain layout, because Arrow cannot select rows of views. Enumerations, which Arrow reads
    as bytes, are strings.
    """
    return _read_schema(file).as_read


def list_views(file: pq.ParquetFile) -> list[str]:
    """List the columns of a file that contain list views, at any depth."""
    return _read_schema(file).list_views


class _Schema(NamedTuple):
    """The schema of a file: of Parquet, of Arrow, and as it is read; and the columns that contain some types."""

    stored: pq.ParquetSchema
    arrow: pa.Schema
    as_read: pa.Schema
    list_views: list[str]
    intervals: list[str]


_last_schema = list[_Schema]()  # of the last file; most files of a corpus have the same


def _read_schema(file: pq.ParquetFile) -> _Schema:
    stored, arrow = file.schema, file.schema_arrow
    for last in _last_schema:
        if stored.equals(last.stored) and arrow.equals(last.arrow, check_metadata=True):
            return last
    enums = _columns_of_type(file, "ENUM")
    as_read = pa.schema(
        [
            field.with_type(
                pa.string() if field.name in enums and pa.types.is_binary(field.type) else without_views(field.type)
            )
            for field in arrow
        ]
    )
    views = [field.name for field in arrow if has_list_views(field.type)]
    found = _Schema(stored, arrow, as_read, views, _columns_of_type(file, "INTERVAL"))
    _last_schema[:] = [found]
    return found


def _open(source: pa.NativeFile, **options: Any) -> pq.ParquetFile:
    # In microseconds, 64 bits represent all years of INT96; in nanoseconds, only 1677 to 2262, and others wrap around.
    return pq.ParquetFile(source, page_checksum_verification=True, coerce_int96_timestamp_unit="us", **options)


def _columns_of_type(file: pq.ParquetFile, logical_type: str) -> list[str]:
    """List the columns that contain, at any depth, values of a Parquet logical type."""
    leaves = [file.schema.column(i) for i in range(len(file.schema))]
    paths = [leaf.path for leaf in leaves if logical_type in (leaf.logical_type.type, leaf.converted_type)]
    names = file.schema_arrow.names if paths else []
    return [max((name for name in names if f"{path}.".startswith(f"{name}.")), key=len) for path in paths]


def _find_chunks(metadata: pq.FileMetaData, columns: Collection[str], footer: bytes) -> dict[str, _Leaves]:
    """Find the chunks of columns in the bytes of a footer."""
    found: dict[str, _Leaves] = {name: {} for name in columns}
    for leaf in _leaf_paths(metadata) if columns else ():
        for name, leaves in found.items():
            if leaf == name or leaf.startswith(f"{name}."):
                path = [part for part in (name, *leaf[len(name) + 1 :].split(".")) if part]
                leaves[leaf] = find_column_chunks(footer, path, metadata.num_row_groups)
    return found


def _leaf_paths(metadata: pq.FileMetaData) -> list[str]:
    return [metadata.schema.column(i).path for i in range(len(metadata.schema))]


def _find_unreadable(file: pq.ParquetFile, columns: Collection[str], footer: bytes) -> dict[str, str]:
    """Return what is wrong with columns that are encrypted, or compressed with an unknown codec.

    Arrow's metadata of such a column must not be accessed, because that ends the process. Reading the column raises an
    error instead, before any data are needed; the given file has none. This takes time for each row group, so only the
    first one is read if the others have the same codecs.
    """
    num_row_groups = file.metadata.num_row_groups
    alike = dict.fromkeys(columns, True)
    if num_row_groups > 1:
        alike = {
            name: _has_same_codecs(leaves) for name, leaves in _find_chunks(file.metadata, columns, footer).items()
        }
    if not _check_columns(file, 0, list(columns)):
        columns = [name for name in columns if not alike[name]]
    found: dict[str, str] = {}
    for name in columns:
        numbers = range(1 if alike[name] else num_row_groups)
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
        pass  # because there are no data
    return None


def _has_same_codecs(leaves: _Leaves) -> bool:
    """Return whether the bytes of a footer show that a column has the same codecs in all row groups."""
    return all(chunks is not None and len({chunk.codec for chunk in chunks}) <= 1 for chunks in leaves.values())


class _NoData(io.RawIOBase):
    """A file of some size that returns no data. Arrow takes its columns for empty ones."""

    def __init__(self, size: int):
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return offset if whence == io.SEEK_SET else self._size

    def tell(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        return b""


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
