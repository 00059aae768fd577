"""The memory of chunks: the words of every chunk that was seen, in arrays.

Letters: N texts, C chunks of all texts, W words.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.ragged import concatenated_ranges
from xlm_core.text.chunks import END, OTHER
from xlm_core.text.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xlm_core.text.chunks import ChunkRules
    from xlm_core.text.words import Word

# Flags of chunks. A text is segmented as a whole if it has an unsafe chunk, or one with an odd end before one with an
# odd start.
_UNSAFE, _ODD_START, _ODD_END = 1, 2, 4

# The first two chunks. An empty chunk is part of a longer space, or a space at an end of the text.
_EMPTY, _UNSAFE_CHUNK = 0, 1

MAX_CHUNK_CHARS = 256  # longer chunks hardly ever repeat
_NUM_CONTEXTS = 2 * (END + 1)
_BYTES_PER_CHUNK, _BYTES_PER_WORD, _BYTES_PER_CHAR = 220, 8, 4


class ChunkTable:
    """Numbers of chunks, and the words of each chunk.

    Args:
        number_word: returns the number of a word.

    Attributes:
        size_bytes: an estimate of the memory that the table takes.
    """

    def __init__(self, number_word: Callable[[Word], int]):
        self._number_word = number_word
        self._firsts, self._sizes, self._lengths, self._words, self._starts = (array("i") for _ in range(5))
        self._flags, self._kinds = array("b"), array("b")
        # Chunks whose words depend on their context have a row of variants: the chunk with these words, or -1.
        self._rows, self._variants = array("i"), array("i")
        self._chunks_of_rows: list[tuple[str, ChunkRules]] = []
        self.size_bytes = 0
        self._add([], 0, flags=_ODD_START)
        self._add([], 0, flags=_UNSAFE)

    def add(self, chunk: str, rules: ChunkRules) -> int:
        """Add a chunk of a language, and return its number."""
        if not chunk:
            return _EMPTY
        if len(chunk) > MAX_CHUNK_CHARS:
            return _UNSAFE_CHUNK
        row = -1
        words: Sequence[tuple[Word, int]] | None = []
        if not rules.depends_on_context(chunk):
            words = rules.split(chunk)
        else:
            row = len(self._chunks_of_rows)
            self._chunks_of_rows.append((chunk, rules))
            self._variants.extend([-1] * _NUM_CONTEXTS)
        kind = rules.kind(chunk)
        if words is None or kind is None:
            return _UNSAFE_CHUNK
        flags = _ODD_START * rules.has_odd_start(chunk) | _ODD_END * rules.has_odd_end(chunk)
        return self._add(words, len(chunk), flags=flags, kind=kind, row=row)

    def find_words(self, chunks: array[int], sizes: Sequence[int]) -> tuple[Words, NDArray[np.int64]]:
        """Find the words of texts.

        Args:
            chunks: the chunks of all texts.
            sizes: how many chunks each text has, at least 1.

        Returns:
            The words, and the texts that have to be segmented as a whole. Their words are not valid.
        """
        chunk_C = np.frombuffer(chunks, np.int32)
        sizes_N = np.array(sizes, np.int64)
        text_C = np.repeat(np.arange(len(sizes_N)), sizes_N)
        flags_C = np.frombuffer(self._flags, np.int8)[chunk_C]
        is_unsafe_C = (flags_C & _UNSAFE) != 0
        is_unsafe_C[:-1] |= (
            ((flags_C[:-1] & _ODD_END) != 0) & ((flags_C[1:] & _ODD_START) != 0) & (text_C[:-1] == text_C[1:])
        )
        unsafe = [text_C[is_unsafe_C]]

        length_C = np.frombuffer(self._lengths, np.int32)[chunk_C] + 1
        start_C = np.cumsum(length_C) - length_C
        start_C -= start_C[np.cumsum(sizes_N) - sizes_N][text_C]
        has_words_C = chunk_C != _EMPTY
        chunk_C, text_C, start_C = chunk_C[has_words_C], text_C[has_words_C], start_C[has_words_C]

        row_C = np.frombuffer(self._rows, np.int32)[chunk_C]
        open_ = np.flatnonzero(row_C >= 0)
        if len(open_):
            before_C, after_C = np.concatenate([[-1], text_C[:-1]]), np.concatenate([text_C[1:], [-1]])
            kind_C = np.append(np.frombuffer(self._kinds, np.int8)[chunk_C[1:]], np.int8(END))
            following = np.where(after_C == text_C, kind_C, END)[open_]
            contexts = row_C[open_] * _NUM_CONTEXTS + (before_C != text_C)[open_] * (END + 1) + following
            self._fill_variants(contexts)
            chunk_C[open_] = np.frombuffer(self._variants, np.int32)[contexts]
            unsafe.append(text_C[chunk_C == _UNSAFE_CHUNK])

        sizes_C = np.frombuffer(self._sizes, np.int32)[chunk_C]
        firsts_C = np.frombuffer(self._firsts, np.int32)[chunk_C]
        index_W = np.repeat(firsts_C, sizes_C) + concatenated_ranges(sizes_C.astype(np.int64))
        numbers = np.frombuffer(self._words, np.int32)[index_W]
        starts = np.frombuffer(self._starts, np.int32)[index_W] + np.repeat(start_C, sizes_C).astype(np.int32)
        num_words = np.bincount(text_C, sizes_C, minlength=len(sizes_N)).astype(np.int64)
        return Words(numbers, starts, num_words), np.unique(np.concatenate(unsafe))

    def _fill_variants(self, contexts: NDArray[np.int64]) -> None:
        """Find the words of chunks in contexts in which they have not been seen."""
        missing = contexts[np.frombuffer(self._variants, np.int32)[contexts] < 0]
        for context in np.unique(missing).tolist():
            row, place = divmod(context, _NUM_CONTEXTS)
            is_first, following = divmod(place, END + 1)
            chunk, rules = self._chunks_of_rows[row]
            words = rules.split(chunk, is_first=bool(is_first), following=following)
            self._variants[context] = _UNSAFE_CHUNK if words is None else self._add(words, len(chunk))

    def _add(
        self, words: Sequence[tuple[Word, int]], length: int, *, flags: int = 0, kind: int = OTHER, row: int = -1
    ) -> int:
        number = len(self._firsts)
        self._firsts.append(len(self._words))
        self._sizes.append(len(words))
        self._lengths.append(length)
        self._flags.append(flags)
        self._kinds.append(kind)
        self._rows.append(row)
        for word, start in words:
            self._words.append(self._number_word(word))
            self._starts.append(start)
        self.size_bytes += _BYTES_PER_CHUNK + _BYTES_PER_WORD * len(words) + _BYTES_PER_CHAR * length
        return number
