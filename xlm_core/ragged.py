"""Ragged arrays: the values of all sequences in one array, with the offsets at which each sequence starts.

Everything here is NumPy. Processes without torch use it as well.

Letters: B sequences, T packed tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]

NUM_CODES = 0x110000  # Unicode code points


def plan_batches(lengths: IntArray, max_tokens: int) -> list[NDArray[np.int64]]:
    """Group sequences into batches of at most `max_tokens` tokens, longest sequences first.

    Sequences of similar length share a batch, which makes grouped attention efficient. A budget that is too large for
    the device fails in the first batch, not hours later. The plan depends only on the lengths and the budget.

    Args:
        lengths: [B], number of tokens of each sequence, at least 1.
        max_tokens: the token budget; a longer sequence gets a batch of its own.

    Returns:
        Index arrays that together contain every sequence once.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens: got {max_tokens}, expected at least 1")
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    ends = np.cumsum(lengths[order], dtype=np.int64)
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        used = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, used + max_tokens, side="right")), start + 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def take_ragged(values: NDArray[Any], cu_seqlens: IntArray, index: IntArray) -> tuple[NDArray[Any], IntArray]:
    """Take the sequences that `index` selects from a ragged array, in its order, without a Python loop.

    Returns:
        The values and the int32 cu_seqlens of the selected sequences.
    """
    lengths = np.diff(cu_seqlens)[index]
    return values[ragged_positions(cu_seqlens, index)], cumulative_lengths(lengths)


def ragged_positions(cu_seqlens: IntArray, index: IntArray) -> NDArray[np.int64]:
    """Return the positions, in a ragged array, of the values of the sequences that `index` selects, in its order."""
    lengths = np.diff(cu_seqlens)[index].astype(np.int64)
    starts = cu_seqlens[:-1][index].astype(np.int64)
    return np.repeat(starts, lengths) + concatenated_ranges(lengths)


def cumulative_lengths(lengths: IntArray) -> NDArray[np.int32]:
    """Convert lengths [B] to cu_seqlens, int32 [B + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def concatenated_ranges(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate `np.arange(length)` for each length."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def to_codes(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of all texts, laid end to end, and the length of each text."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, np.fromiter(map(len, texts), np.int64, len(texts))


def to_text(codes: NDArray[np.uint32]) -> str:
    """Return the text that consists of code points."""
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def code_table(replaced: Mapping[int, int | str]) -> NDArray[np.uint32]:
    """Return a table of all code points, in which some are replaced; such a mapping is that of `str.translate`."""
    table = np.arange(NUM_CODES, dtype=np.uint32)
    for code, new in replaced.items():
        table[code] = ord(new) if isinstance(new, str) else new
    return table
