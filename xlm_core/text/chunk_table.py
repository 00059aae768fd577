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
        self._chunks = array("i")  # for each chunk: first word, number of words and characters, flags, kind, row
        self._words = array("i")  # for each word: its number and its first character in the chunk
        # Chunks whose words depend on their context have a row of variants: the chunk with these words, or -1.
        self._variants = array("i")
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
        _, _, length_C, flags_C, kind_C, row_C = self._look_up(chunk_C)
        is_unsafe_C = (flags_C & _UNSAFE) != 0
        is_odd_C = ((flags_C[:-1] & _ODD_END) != 0) & ((flags_C[1:] & _ODD_START) != 0)
        is_unsafe_C[:-1] |= is_odd_C & (text_C[:-1] == text_C[1:])
        unsafe = [text_C[is_unsafe_C]]

        stop_C = np.cumsum(length_C + 1)
        start_C = stop_C - length_C - 1
        start_C -= start_C[np.cumsum(sizes_N) - sizes_N][text_C]
        has_words = np.flatnonzero(chunk_C != _EMPTY)
        chunk_C, text_C, start_C = chunk_C[has_words], text_C[has_words], start_C[has_words]

        open_ = np.flatnonzero(row_C[has_words] >= 0)
        if len(open_):
            row_C, kind_C = row_C[has_words], kind_C[has_words]
            is_new_C = np.diff(text_C, prepend=-1, append=-1) != 0
            following = np.where(is_new_C[1:], END, np.append(kind_C[1:], END))[open_]
            contexts = row_C[open_] * _NUM_CONTEXTS + is_new_C[:-1][open_] * (END + 1) + following
            self._fill_variants(contexts)
            chunk_C[open_] = np.frombuffer(self._variants, np.int32)[contexts]
            unsafe.append(text_C[chunk_C == _UNSAFE_CHUNK])

        first_C, size_C, *_ = self._look_up(chunk_C)
        index_W = np.repeat(first_C, size_C) + concatenated_ranges(size_C.astype(np.int64))
        number_W, start_W = np.frombuffer(self._words, np.int32).reshape(-1, 2)[index_W].T
        start_W = start_W + np.repeat(start_C, size_C).astype(np.int32)
        num_words = np.bincount(text_C, size_C, minlength=len(sizes_N)).astype(np.int64)
        return Words(number_W, start_W, num_words), np.unique(np.concatenate(unsafe))

    def _look_up(self, chunks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the columns of chunks, int32 [6, C]."""
        return np.frombuffer(self._chunks, np.int32).reshape(-1, 6)[chunks].T

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
        number = len(self._chunks) // 6
        self._chunks.extend((len(self._words) // 2, len(words), length, flags, kind, row))
        for word, start in words:
            self._words.extend((self._number_word(word), start))
        self.size_bytes += _BYTES_PER_CHUNK + _BYTES_PER_WORD * len(words) + _BYTES_PER_CHAR * length
        return number
