"""Fold words: lower-case them, decompose their characters and remove combining marks, as the reference does.

Letters: C characters, F characters after folding.
"""

from __future__ import annotations

import unicodedata
from array import array
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.ragged import NUM_CODES, concatenated_ranges
from xlm_core.text.composition import order_marks

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IRREGULAR = -1


class FoldTable:
    """What each character becomes: none, one or several characters. Filled on demand."""

    def __init__(self) -> None:
        self._firsts = np.full(NUM_CODES, -1, np.int32)
        self._sizes = np.zeros(NUM_CODES, np.int8)
        self._folded = array("I")

    def fold(self, codes_C: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.bool_]]:
        """Fold all characters at once.

        Returns:
            The new characters [F], the number of them that each character has become [C], and whether a character is
            irregular: what it becomes depends on its word, and it has become none.
        """
        for code in np.unique(codes_C[self._firsts[codes_C] < 0]).tolist():
            self._add(code)
        sizes_C = self._sizes[codes_C]
        is_irregular_C = sizes_C == _IRREGULAR
        num_C = np.maximum(sizes_C, 0).astype(np.int64)
        index_F = np.repeat(self._firsts[codes_C], num_C) + concatenated_ranges(num_C)
        return np.frombuffer(self._folded, np.uint32)[index_F], num_C, is_irregular_C

    def _add(self, code: int) -> None:
        char = chr(code)
        parts = [part for lower in char.lower() for part in unicodedata.normalize("NFD", lower)]
        kept = [part for part in parts if unicodedata.category(part) != "Mn"]
        self._firsts[code] = len(self._folded)
        # A sigma, and marks that are sorted and not removed, depend on their word.
        if "Σ" in (char, *kept) or any(map(unicodedata.combining, kept)):
            self._sizes[code] = _IRREGULAR
            return
        folded = "".join(kept).lower()
        self._sizes[code] = len(folded)
        self._folded.extend(map(ord, folded))


@cache
def fold_table() -> FoldTable:
    """Return the table that all tokenizers share."""
    return FoldTable()


def lower_and_strip_accents(word: str) -> tuple[str, list[int]]:
    """Lower-case a word, decompose its characters and remove combining marks, as the reference does.

    Returns:
        The new word, and for each of its characters the index of its source character in `word`. The indices never
        decrease.
    """
    lowered = word.lower()
    sources = [
        i for i, c in enumerate(word) for _ in c.lower()
    ]  # the form of a final sigma depends on the word, but not its length
    chars: list[tuple[str, int]] = []
    for c, source in zip(lowered, sources, strict=True):
        chars += [(d, source) for d in unicodedata.normalize("NFD", c)]
    order_marks(chars)
    kept = [(c, source) for c, source in chars if unicodedata.category(c) != "Mn"]
    stripped = "".join(c for c, _ in kept)
    out: list[int] = []
    for c, source in kept:
        out += [max(source, out[-1] if out else 0)] * len(c.lower())
    return stripped.lower(), out
