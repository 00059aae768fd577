"""Tokens and windows of rows, arranged as the tokenizer arranges them."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st


class Layout(NamedTuple):
    word_ids: np.ndarray
    cu_seqlens: np.ndarray
    row_ids: np.ndarray
    window_starts: np.ndarray
    offsets: np.ndarray
    token_index: dict[tuple[int, int, int], int]  # token index by (sequence, text, position within the text)
    texts: list[int]  # [T], text of each token
    positions: list[int]  # [T], its position in the text

    @property
    def windows(self):
        return self.word_ids, self.cu_seqlens, self.row_ids, self.window_starts


class Row(NamedTuple):
    texts: list[list[int]]  # one or two; the number of subwords of each word
    windows: list[tuple[int, int]]  # ranges of tokens of the last text


def build_layout(rows: list[Row]) -> Layout:
    """Concatenate rows; token n of a text covers its characters 2n and 2n + 1."""
    word_ids, offsets, texts, positions = [], [], [], []
    token_index, cu_seqlens, row_ids, window_starts = {}, [0], [], []

    def add(word, text, position, span):
        word_ids.append(word)
        texts.append(text)
        positions.append(position)
        offsets.append(span)

    for r, row in enumerate(rows):
        for begin, end in row.windows:
            for t, word_sizes in enumerate(row.texts):
                add(-1, -1, -1, (-1, -1))
                words = [word for word, size in enumerate(word_sizes) for _ in range(size)]
                first, stop = (begin, end) if t == len(row.texts) - 1 else (0, len(words))
                for n in range(first, stop):
                    token_index[len(row_ids), t, n] = len(word_ids)
                    add(words[n], t, n, (2 * n, 2 * n + 2))
            add(-1, -1, -1, (-1, -1))
            cu_seqlens.append(len(word_ids))
            row_ids.append(r)
            window_starts.append(begin)
    return Layout(
        np.array(word_ids, np.int32),
        np.array(cu_seqlens, np.int32),
        np.array(row_ids, np.int32),
        np.array(window_starts, np.int32),
        np.array(offsets, np.int32).reshape(-1, 2),
        token_index,
        texts,
        positions,
    )


def build_row(texts, steps):
    """Build a row whose windows start and end (start step, end step) tokens after the previous window."""
    size = sum(texts[-1])
    begin = end = 0
    windows = []
    for begin_step, end_step in steps:
        begin, end = min(begin + begin_step, end), min(end + end_step, size)
        windows.append((begin, end))
    return Row(texts, windows if end == size and windows else [*windows, (begin, size)])


some_rows = st.lists(
    st.builds(
        build_row,
        st.lists(st.lists(st.integers(1, 3), max_size=6), min_size=1, max_size=2),
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), max_size=5),
    ),
    max_size=3,
)
"""Rows of one or two texts, in windows that are in order and have no gaps."""
