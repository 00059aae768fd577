"""Rows laid out as the tokenizer lays them out, long ones in windows, for the tests of decoding."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st


class Layout(NamedTuple):
    word_ids: np.ndarray
    cu_seqlens: np.ndarray
    row_ids: np.ndarray
    window_starts: np.ndarray
    offsets: np.ndarray
    places: dict[tuple[int, int, int], int]  # (sequence, text, number within the text): the token's index
    texts: list[int]  # [T], which text a token is of
    numbers: list[int]  # [T], its number there

    @property
    def windows(self):
        return self.word_ids, self.cu_seqlens, self.row_ids, self.window_starts


class Row(NamedTuple):
    texts: list[list[int]]  # one or two; the pieces of each word
    windows: list[tuple[int, int]]  # of the last text's tokens


def lay_out(rows: list[Row]) -> Layout:
    """Lay rows end to end; token n of a text stands for its characters 2n and 2n + 1."""
    word_ids, offsets, texts, numbers = [], [], [], []
    places, borders, row_ids, window_starts = {}, [0], [], []

    def add(word, text, number, span):
        word_ids.append(word)
        texts.append(text)
        numbers.append(number)
        offsets.append(span)

    for r, row in enumerate(rows):
        for begin, end in row.windows:
            for t, sizes in enumerate(row.texts):
                add(-1, -1, -1, (-1, -1))
                words = [word for word, size in enumerate(sizes) for _ in range(size)]
                first, stop = (begin, end) if t == len(row.texts) - 1 else (0, len(words))
                for n in range(first, stop):
                    places[len(row_ids), t, n] = len(word_ids)
                    add(words[n], t, n, (2 * n, 2 * n + 2))
            add(-1, -1, -1, (-1, -1))
            borders.append(len(word_ids))
            row_ids.append(r)
            window_starts.append(begin)
    return Layout(
        np.array(word_ids, np.int32),
        np.array(borders, np.int32),
        np.array(row_ids, np.int32),
        np.array(window_starts, np.int32),
        np.array(offsets, np.int32).reshape(-1, 2),
        places,
        texts,
        numbers,
    )


def cut_windows(texts, moves):
    """Cut the last text into windows by how far each one's ends move on from those of the one before."""
    size = sum(texts[-1])
    begin = end = 0
    windows = []
    for begin_moves, end_moves in moves:
        begin, end = min(begin + begin_moves, end), min(end + end_moves, size)
        windows.append((begin, end))
    return Row(texts, windows if end == size and windows else [*windows, (begin, size)])


some_rows = st.lists(
    st.builds(
        cut_windows,
        st.lists(st.lists(st.integers(1, 3), max_size=6), min_size=1, max_size=2),
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), max_size=5),
    ),
    max_size=3,
)
"""Rows of one or two texts, in any windows that follow in order and leave nothing out."""
