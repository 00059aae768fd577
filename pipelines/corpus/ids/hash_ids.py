"""Hash the ids of rows, in NumPy: a corpus has up to billions of them, too many for Python objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.rows import decode_ids, id_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLICE_ROWS = 2**16  # hashed at once, because NumPy copies eight times the bytes of their ids
_MAX_WORDS = 32  # of 8 bytes; the rest of longer ids is not hashed, so ids with the same beginning may be compared

# The finalizer of SplitMix64 (Steele et al. 2014).
_GAMMA, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hash_ids(ids: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hash a column of ids.

    Args:
        ids: text, integers or UUIDs, as `is_id` accepts them.

    Returns:
        uint64 [N], equal for equal ids, and whether each row has an id: it is not null, and text is UTF-8.
    """
    is_valid = ids.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(ids.type):
        values = ids.fill_null(0).to_numpy()
        return _mix(values.astype(np.uint64 if values.dtype.kind == "u" else np.int64).view(np.uint64)), is_valid
    texts = to_bytes(ids)
    if not _is_utf8(texts):
        is_valid[list(decode_ids(ids)[1])] = False
    slices = [_hash_bytes(texts.slice(first, _SLICE_ROWS)) for first in range(0, len(texts), _SLICE_ROWS)]
    return np.concatenate([np.empty(0, np.uint64), *slices]), is_valid


def to_bytes(ids: pa.Array) -> pa.LargeBinaryArray:
    """Convert a column of ids to the bytes by which they are compared."""
    if isinstance(ids, pa.ExtensionArray):  # UUIDs
        return ids.storage.cast(pa.large_binary())
    return id_texts(ids).cast(pa.large_binary())


def _is_utf8(texts: pa.LargeBinaryArray) -> bool:
    try:
        texts.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _hash_bytes(texts: pa.LargeBinaryArray) -> NDArray[np.uint64]:
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(texts) + 1, texts.offset * 8)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    num_bytes = int(offsets[-1] - offsets[0])
    data = np.zeros(num_bytes + 8, np.uint8)  # 8 bytes more than the texts
    if num_bytes:
        data[:-8] = np.frombuffer(data_buffer, np.uint8, num_bytes, int(offsets[0]))
    # the 8 bytes from each position on, as one little-endian word
    words = np.ndarray(num_bytes + 1, "<u8", data, strides=(1,))
    hashes = _mix(lengths.astype(np.uint64))
    num_words = min(-(-int(lengths.max(initial=0)) // 8), _MAX_WORDS)
    for i in range(num_words):
        has_word = lengths > 8 * i
        rows: Any = slice(None) if has_word.all() else np.flatnonzero(has_word)
        num_unused = (np.maximum(8 * (i + 1) - lengths[rows], 0) * 8).astype(np.uint64)  # bits, of the next text
        word = words[starts[rows] + 8 * i] & (np.uint64(2**64 - 1) >> num_unused)
        hashes[rows] = _mix(hashes[rows] ^ word)
    return hashes


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))
