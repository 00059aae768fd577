"""The memory of chunks: the words of every chunk that was seen, in arrays.

Letters: N texts, C chunks of all texts, W words.
"""

from __future__ import annotations

from array import array
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.ragged import concatenated_ranges
from xlm_core.text.chunks import END, NUM_CONTEXTS, ODD_END, ODD_START, OPEN, OTHER, UNSAFE
from xlm_core.text.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from xlm_core.text.chunks import ChunkRules
    from xlm_core.text.words import Word

EMPTY_CHUNK = 0  # part of a longer space, or a space at an end of the text

MAX_CHUNK_CHARS = 256  # longer chunks hardly ever repeat
_UNSAFE_ROW = (0, 0, 0, UNSAFE, OTHER, -1)
_BYTES_PER_CHUNK, _BYTES_PER_WORD, _BYTES_PER_CHAR = 220, 8, 4


class ChunkTable:
    """Numbers of chunks, and the words of each chunk.

    Args:
        number_word: returns the number of a word.

    Attributes:
        next_numbers: yields the numbers of new chunks.
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
        self._chunks.extend((0, 0, 0, ODD_START, OTHER, -1))
        self.next_numbers = count(1)

    def add(self, new: Sequence[tuple[ChunkRules, Mapping[str, int]]]) -> None:
        """Add chunks.

        Args:
            new: the rules of a language, and the numbers of chunks; all numbers since the last call. Texts with a
                chunk of more than `MAX_CHUNK_CHARS` have to be segmented as a whole.
        """
        rows = np.empty((sum(len(numbers) for _, numbers in new), 6), np.int32)
        rows[:] = _UNSAFE_ROW
        for rules, numbers in new:
            chunks = [chunk for chunk in numbers if len(chunk) <= MAX_CHUNK_CHARS]
            index = np.fromiter(map(numbers.__getitem__, chunks), np.int64, len(chunks))
            if chunks:
                rows[index - len(self._chunks) // 6] = self._store(chunks, rules)
        self._chunks.frombytes(rows.tobytes())

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
        is_odd_C = ((flags_C[:-1] & ODD_END) != 0) & ((flags_C[1:] & ODD_START) != 0)
        odd = text_C[:-1][is_odd_C & (text_C[:-1] == text_C[1:])]

        stop_C = np.cumsum(length_C + 1)
        start_C = stop_C - length_C - 1
        start_C -= start_C[np.cumsum(sizes_N) - sizes_N][text_C]
        has_words = np.flatnonzero(chunk_C != EMPTY_CHUNK)
        chunk_C, text_C, start_C = chunk_C[has_words], text_C[has_words], start_C[has_words]

        open_ = np.flatnonzero(row_C[has_words] >= 0)
        if len(open_):
            row_C, kind_C = row_C[has_words], kind_C[has_words]
            is_new_C = np.diff(text_C, prepend=-1, append=-1) != 0
            following = np.where(is_new_C[1:], END, np.append(kind_C[1:], END))[open_]
            contexts = row_C[open_] * NUM_CONTEXTS + is_new_C[:-1][open_] * (END + 1) + following
            self._fill_variants(contexts)
            chunk_C[open_] = np.frombuffer(self._variants, np.int32)[contexts]

        first_C, size_C, _, flags_C, *_ = self._look_up(chunk_C)
        unsafe = text_C[(flags_C & UNSAFE) != 0]
        index_W = np.repeat(first_C, size_C) + concatenated_ranges(size_C.astype(np.int64))
        number_W, start_W = np.frombuffer(self._words, np.int32).reshape(-1, 2)[index_W].T
        start_W = start_W + np.repeat(start_C, size_C).astype(np.int32)
        num_words = np.bincount(text_C, size_C, minlength=len(sizes_N)).astype(np.int64)
        return Words(number_W, start_W, num_words), np.unique(np.concatenate([odd, unsafe]))

    def _look_up(self, chunks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the columns of chunks, int32 [6, C]."""
        return np.frombuffer(self._chunks, np.int32).reshape(-1, 6)[chunks].T

    def _fill_variants(self, contexts: NDArray[np.int64]) -> None:
        """Find the words of chunks in contexts in which they have not been seen."""
        missing = np.unique(contexts[np.frombuffer(self._variants, np.int32)[contexts] < 0])
        by_rules: dict[ChunkRules, list[tuple[int, str]]] = {}
        for context, row in zip(missing.tolist(), (missing // NUM_CONTEXTS).tolist(), strict=True):
            chunk, rules = self._chunks_of_rows[row]
            by_rules.setdefault(rules, []).append((context, chunk))
        for rules, variants in by_rules.items():
            contexts, chunks = np.array([context for context, _ in variants]), [chunk for _, chunk in variants]
            numbers = np.fromiter(islice(self.next_numbers, len(chunks)), np.int32, len(chunks))
            np.frombuffer(self._variants, np.int32)[contexts] = numbers
            self._chunks.frombytes(self._store(chunks, rules, (contexts % NUM_CONTEXTS).tolist()).tobytes())

    def _store(
        self, chunks: Sequence[str], rules: ChunkRules, contexts: Sequence[int] | None = None
    ) -> NDArray[np.int32]:
        """Store the words of chunks, and return the rows of the chunks."""
        found = rules.split(chunks, contexts)
        rows = np.empty((len(chunks), 6), np.int32)
        lengths = np.fromiter(map(len, chunks), np.int32, len(chunks))
        rows.T[:5] = found.firsts + len(self._words) // 2, found.sizes, lengths, found.flags, found.kinds
        numbers = np.fromiter(map(self._number_word, found.words), np.int32, len(found.words))
        self._words.frombytes(np.stack([numbers, found.starts], 1).tobytes())
        rows[:, 5] = -1
        if contexts is None:
            open_ = np.flatnonzero(found.flags & OPEN)
            rows[open_, 5] = len(self._chunks_of_rows) + np.arange(len(open_))
            self._chunks_of_rows += [(chunks[k], rules) for k in open_.tolist()]
            self._variants.extend([-1] * NUM_CONTEXTS * len(open_))
        self.size_bytes += _BYTES_PER_CHUNK * len(chunks) + _BYTES_PER_WORD * len(numbers)
        self.size_bytes += _BYTES_PER_CHAR * int(lengths.sum())
        return rows
