"""Find the codecs and statistics of column chunks in the bytes of a footer.

Arrow's metadata of a column chunk ends the process if the codec is unknown, if minimum or maximum is shorter than a
value of the column, or if the type or the histograms of levels do not agree with the schema.

A footer is a struct in Thrift's compact protocol: before each field is a byte with its type and the difference between
its number and that of the field before it. The numbers are those of Parquet's `parquet.thrift`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow.parquet as pq

_BOOLEANS, _VARINTS, _BINARY, _LIST, _STRUCT = (1, 2), (4, 5, 6), 8, 9, 12
_PATH, _CODEC, _SIZE, _STATISTICS, _SIZE_STATISTICS = 3, 4, 6, 12, 16  # fields of ColumnMetaData
_TEXT_SIZE, _REPETITION, _DEFINITION = 1, 2, 3  # size and histograms in SizeStatistics
_TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
_MAX_BITS = 63
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


class ColumnChunk(NamedTuple):
    """A column in one row group.

    Attributes:
        physical_type: its type; None if it is not certain.
        codec: number of its codec.
        size_bytes: its size without compression, or of its values if this is more and in the footer.
        bound_sizes: sizes of its minimum and maximum, in bytes.
        histogram_sizes: number of levels in its histograms: of repetition levels, by 2, and of definition levels, by 3.
    """

    physical_type: str | None
    codec: int
    size_bytes: int
    bound_sizes: list[int]
    histogram_sizes: dict[int, int]


def find_column_chunks(footer: bytes, path: Sequence[str], num_row_groups: int) -> list[ColumnChunk] | None:
    """Find the chunks of a leaf column, which are in the order of the row groups.

    Args:
        footer: the footer of a file.
        path: names of the column and of the fields in it.
        num_row_groups: number of row groups of the file.

    Returns:
        None if not exactly one chunk is found for each row group.
    """
    names = [name.encode() for name in path]
    if len(names) > 14 or max(map(len, names), default=0) > 127:  # their sizes take more than a byte
        return None
    encoded = bytes([len(names) << 4 | _BINARY]) + b"".join(bytes([len(name)]) + name for name in names)
    found = list(re.finditer(b"\x19" + re.escape(encoded) + b"(?=\x15)", footer))  # a list, before the codec
    if len(found) != num_row_groups:
        return None
    try:
        return [_parse(footer, match.start(), match.end()) for match in found]
    except (IndexError, ValueError, RecursionError):  # damaged
        return None


def has_sound_statistics(
    leaves: Mapping[str, Sequence[ColumnChunk] | None], metadata: pq.FileMetaData, name: str
) -> bool:
    """Return whether the statistics of a column can be read, for a column whose codec is known.

    Args:
        leaves: the chunks of its leaves, by path; None if they were not found. Only of a column that is not nested,
            statistics can be read.
        metadata: as Arrow parsed it.
        name: name of the column.
    """
    chunks = leaves.get(name)
    columns = [i for i in range(len(metadata.schema)) if metadata.schema.column(i).path == name]
    if chunks is None or len(columns) != 1:
        return False
    column = metadata.schema.column(columns[0])
    width = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS.get(column.physical_type)
    num_levels = {_REPETITION: column.max_repetition_level + 1, _DEFINITION: column.max_definition_level + 1}
    return all(
        chunk.physical_type == column.physical_type
        and (width is None or all(size == width for size in chunk.bound_sizes))
        and all(size in (0, num_levels.get(kind)) for kind, size in chunk.histogram_sizes.items())
        for chunk in chunks
    )


def _parse(footer: bytes, start: int, end: int) -> ColumnChunk:
    """Parse a ColumnMetaData whose path is between two positions."""
    codec = size = 0
    bound_sizes, histogram_sizes = list[int](), dict[int, int]()
    for number, kind, position in _fields(footer, end, _PATH):
        if number == _CODEC:
            codec = _varint(footer, position)[0]
        elif number == _SIZE:
            size = max(size, _zigzag(footer, position))
        elif number == _STATISTICS and kind == _STRUCT:
            bound_sizes = [
                _varint(footer, bound)[0]
                for _, bound_kind, bound in _fields(footer, position, 0)
                if bound_kind == _BINARY  # min, max, min_value and max_value
            ]
        elif number == _SIZE_STATISTICS and kind == _STRUCT:
            for inner, inner_kind, inner_position in _fields(footer, position, 0):
                if inner_kind == _LIST:
                    histogram_sizes[inner] = _list_header(footer, inner_position)[0]
                elif inner == _TEXT_SIZE:
                    size = max(size, _zigzag(footer, inner_position))
    return ColumnChunk(_type_before(footer, start), codec, size, bound_sizes, histogram_sizes)


def _type_before(footer: bytes, path: int) -> str | None:
    """Return the type of a ColumnMetaData, which precedes its path and the list of its encodings."""
    found: set[int] = set()
    for num_encodings in range(15):
        position = path - num_encodings - 4
        kind, value, encodings, header = footer[position : position + 4] if position >= 0 else bytes(4)
        if (kind, encodings, header) == (0x15, 0x19, num_encodings << 4 | 5):
            found.add(value >> 1)
    return _TYPES[found.pop()] if len(found) == 1 and max(found) < len(_TYPES) else None


def _fields(data: bytes, position: int, number: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, type and position of each field of a struct from a position on, after the field `number`."""
    while data[position]:
        difference, kind = data[position] >> 4, data[position] & 15
        position += 1
        if difference:
            number += difference
        else:
            number, position = _zigzag(data, position), _varint(data, position)[1]
        yield number, kind, position
        position = _skip(data, position, kind)


def _skip(data: bytes, position: int, kind: int) -> int:
    """Return the position after a value, of the types that a ColumnMetaData has."""
    if kind in _BOOLEANS:  # the type is the value
        return position
    if kind in _VARINTS:
        return _skip_varint(data, position)
    if kind == _BINARY:
        size, position = _varint(data, position)
        return position + size
    if kind == _STRUCT:
        while field := data[position]:
            position += 1
            if field < 16:  # without a difference, the number follows
                position = _skip_varint(data, position)
            position = _skip(data, position, field & 15)
        return position + 1
    if kind == _LIST:
        item = data[position] & 15
        size, position = _list_header(data, position)
        for _ in range(min(size, len(data))):
            position = _skip(data, position, item)
        return position
    raise ValueError(f"unexpected type {kind}")


def _skip_varint(data: bytes, position: int) -> int:
    while data[position] & 128:
        position += 1
    return position + 1


def _list_header(data: bytes, position: int) -> tuple[int, int]:
    """Return the number of items of a list, and the position of the first one."""
    size = data[position] >> 4
    return _varint(data, position + 1) if size == 15 else (size, position + 1)


def _zigzag(data: bytes, position: int) -> int:
    """Return a signed integer of variable length."""
    value = _varint(data, position)[0]
    return (value >> 1) ^ -(value & 1)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return an integer of variable length, not negative, and the position after it."""
    value = shift = 0
    while data[position] & 128 and shift < _MAX_BITS:
        value |= (data[position] & 127) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1
