"""Event files of TensorBoard, written without its package, whose form has been the same since TensorFlow 1.

A file is a sequence of records: the length of a message, a checksum of these 8 bytes, the message, and its checksum. A
message is an `Event` of tensorflow/core/util/event.proto in the encoding of protocol buffers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.train.reporting.scalars import Scalar

_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = 1, 2, 3, 5  # fields of Event
_VALUE = 1  # of Summary
_TAG, _SIMPLE_VALUE = 1, 2  # of Summary.Value
_VARINT, _64_BITS, _BYTES, _32_BITS = 0, 1, 2, 5  # types of fields


def event_file_name(step: int) -> str:
    """Return the name of a file that is written after a number of steps. Names sort by it."""
    return f"events.out.tfevents.{step:010}.xlm"


def event_files(scalars: Iterable[Scalar]) -> dict[str, bytes]:
    """Return the contents of the file of each run, "train" and "dev"."""
    files: dict[str, bytearray] = {}
    for scalar in scalars:
        if scalar.run not in files:
            version = _field(_WALL_TIME, _64_BITS, struct.pack("<d", scalar.time_s))
            files[scalar.run] = bytearray(_record(version + _field(_FILE_VERSION, _BYTES, b"brain.Event:2")))
        files[scalar.run] += _record(_event(scalar))
    return {run: bytes(content) for run, content in files.items()}


def _event(scalar: Scalar) -> bytes:
    tag = _field(_TAG, _BYTES, scalar.name.encode())
    value = tag + _field(_SIMPLE_VALUE, _32_BITS, struct.pack("<f", scalar.value))
    return (
        _field(_WALL_TIME, _64_BITS, struct.pack("<d", scalar.time_s))
        + _field(_STEP, _VARINT, _varint(scalar.step))
        + _field(_SUMMARY, _BYTES, _field(_VALUE, _BYTES, value))
    )


def _field(number: int, kind: int, content: bytes) -> bytes:
    length = _varint(len(content)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + length + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked_checksum(length) + message + _masked_checksum(message)


def _masked_checksum(data: bytes) -> bytes:
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = _CRC32C[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    checksum ^= 0xFFFFFFFF
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc32c_table() -> list[int]:
    """Return the CRC-32C (Castagnoli) of each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in table]
    return table


_CRC32C = _crc32c_table()
