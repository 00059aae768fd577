"""The memory of the tokenizer: every distinct word is encoded once, and its pieces are kept in arrays."""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.ragged import concatenated_ranges, cumulative_lengths
from xlm_core.tokenizer.batch_bpe import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xlm_core.text import Word
    from xlm_core.tokenizer.subwords import Literal

_BYTES_PER_WORD = 200  # its string, its place in the dictionary, and its numbers in the arrays, without its pieces
_BYTES_PER_PIECE = 12
_BYTES_PER_CHAR = 4


class PieceTable:
    """Numbers of words, and the pieces of each word.

    Args:
        encode: encodes words.

    Attributes:
        number: returns the number of a word; adds it if it is not in the table.
        size_bytes: an estimate of the memory that the table takes.
    """

    def __init__(self, encode: Callable[[Sequence[Word | Literal]], Pieces]):
        self._encode = encode
        # A look-up numbers words in the order in which they are first looked up.
        self._numbers: defaultdict[Word | Literal, int] = defaultdict(count().__next__)
        self.number: Callable[[Word | Literal], int] = self._numbers.__getitem__
        self.size_bytes = 0
        # Arrays of Python, because they grow in place. NumPy reads them without a copy.
        self._firsts, self._sizes, self._ids, self._starts, self._ends = (array("i") for _ in range(5))

    def clear(self) -> None:
        """Forget all words; their numbers are no longer valid."""
        self._numbers.clear()
        self._numbers.default_factory = count().__next__
        for column in (self._firsts, self._sizes, self._ids, self._starts, self._ends):
            del column[:]
        self.size_bytes = 0

    def gather(self, numbers: NDArray[np.int32], *, with_offsets: bool) -> Pieces:
        """Return the pieces of words, given by their numbers; without offsets, `starts` and `ends` are empty."""
        self._encode_new_words()
        sizes = np.frombuffer(self._sizes, np.int32)[numbers]
        index = np.repeat(np.frombuffer(self._firsts, np.int32)[numbers], sizes) + concatenated_ranges(
            sizes.astype(np.int64)
        )
        ids, starts, ends = (
            np.frombuffer(column, np.int32)[index if needed else index[:0]]
            for column, needed in ((self._ids, True), (self._starts, with_offsets), (self._ends, with_offsets))
        )
        return Pieces(sizes, ids, starts, ends)

    def _encode_new_words(self) -> None:
        num_new = len(self._numbers) - len(self._firsts)
        if not num_new:
            return
        words = [*islice(reversed(self._numbers), num_new)][::-1]
        pieces = self._encode(words)
        firsts = cumulative_lengths(pieces.sizes)[:-1] + np.int32(len(self._ids))
        for column, values in zip(
            (self._firsts, self._sizes, self._ids, self._starts, self._ends), (firsts, *pieces), strict=True
        ):
            column.frombytes(values.astype(np.int32).tobytes())
        self.size_bytes += _BYTES_PER_WORD * len(words) + _BYTES_PER_PIECE * len(pieces.ids)
        self.size_bytes += _BYTES_PER_CHAR * sum(map(len, words))
