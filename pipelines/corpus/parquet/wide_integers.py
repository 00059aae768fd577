"""Integers of 128 bits, such as those of Polars: Arrow refuses to open a file whose Arrow schema contains them.

The schema is stored in the footer, as base64 of an Arrow IPC message, which is a flatbuffer. Only the declared width of
these integers is changed, so that the file can be opened and its other columns have their own types.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# In a Parquet footer: the key with its length; the header of the next field; the length and characters of the value.
_STORED_SCHEMA = re.compile(rb"\x0cARROW:schema\x18[\x80-\xff]{0,4}[\x00-\x7f]([A-Za-z0-9+/]{16,}={0,2})")
_MESSAGE = 8  # bytes before the flatbuffer: a marker and the length
_INT = 2  # number of the type Int in Arrow's Schema.fbs


class Narrowed(NamedTuple):
    """A footer that Arrow can read.

    Attributes:
        footer: the footer, with the same length.
        columns: the columns with integers of 128 bits, at any depth. Reading them returns 16 bytes for each.
    """

    footer: bytes
    columns: list[str]


def narrow_wide_integers(footer: bytes) -> Narrowed | None:
    """Declare integers of more than 64 bits in a footer's Arrow schema as integers of 64 bits.

    Returns:
        None if there are none, or if the schema is damaged.
    """
    for stored in _STORED_SCHEMA.finditer(footer):
        try:
            schema = bytearray(base64.b64decode(stored[1], validate=True))
            columns = list(_narrow_columns(schema))
        except (binascii.Error, struct.error, IndexError, UnicodeDecodeError, RecursionError):
            continue
        encoded = base64.b64encode(schema)
        if columns and len(encoded) == len(stored[1]):
            return Narrowed(footer[: stored.start(1)] + encoded + footer[stored.end(1) :], columns)
    return None


def _narrow_columns(message: bytearray) -> Iterator[str]:
    """Narrow the wide integers of an IPC message in place, and yield the names of their columns."""
    root = _follow(message, _MESSAGE)
    schema = _member(message, root, 2)  # Message.header
    fields = _member(message, _follow(message, schema), 1) if schema else None  # Schema.fields
    for field in _vector(message, fields):
        if _narrow(message, field):
            name = _member(message, field, 0)  # Field.name
            start = _follow(message, name) if name else 0
            (length,) = struct.unpack_from("<I", message, start)
            yield message[start + 4 : start + 4 + length].decode()


def _narrow(message: bytearray, field: int) -> bool:
    """Narrow a field and its children in place. Returns whether one of them was wide."""
    is_wide = False
    kind, data_type = _member(message, field, 2), _member(message, field, 3)  # Field.type_type, Field.type
    if kind and data_type and message[kind] == _INT:
        width = _member(message, _follow(message, data_type), 0)  # Int.bitWidth
        if width and struct.unpack_from("<i", message, width)[0] > 64:
            struct.pack_into("<i", message, width, 64)
            is_wide = True
    for child in _vector(message, _member(message, field, 5)):  # Field.children
        is_wide |= _narrow(message, child)
    return is_wide


def _member(message: bytearray, table: int, number: int) -> int | None:
    """Return the position of a table's member; None if it has its default value."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if vtable < 0 or 4 + 2 * number >= struct.unpack_from("<H", message, vtable)[0]:
        return None
    (offset,) = struct.unpack_from("<H", message, vtable + 4 + 2 * number)
    return table + offset if offset else None


def _vector(message: bytearray, position: int | None) -> Iterator[int]:
    """Yield the positions of the tables in a vector."""
    if position is not None:
        start = _follow(message, position)
        (length,) = struct.unpack_from("<I", message, start)
        for i in range(min(length, len(message))):
            yield _follow(message, start + 4 + 4 * i)


def _follow(message: bytearray, position: int) -> int:
    """Return the position that an offset refers to."""
    return position + struct.unpack_from("<I", message, position)[0]
