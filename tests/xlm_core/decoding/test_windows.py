"""Windows of long rows: every token of a text is selected once, from the best window."""

import numpy as np
import pytest
from hypothesis import given

from tests.xlm_core.decoding.windowed_rows import Row, build_layout, some_rows
from xlm_core.decoding import (
    is_in_text,
    positions_in_text,
    text_ids,
    tokens_from_first_window,
    tokens_with_most_context,
)


def windows_of(rows, text):
    """Yield for each row: its first sequence, the token ranges of its windows, the index and the size of the text."""
    sequence = 0
    for row in rows:
        last = len(row.texts) - 1
        index = 0 if text == "first" else last
        size = sum(row.texts[index])
        yield sequence, row.windows if index == last else [(0, size)] * len(row.windows), index, size
        sequence += len(row.windows)


def select(rows, text, token_index, preference):
    """Select token by token, from the window with the highest `preference`, or the first of equal ones."""
    selected = []
    for sequence, windows, index, size in windows_of(rows, text):
        for n in range(size):
            candidates = [i for i, (begin, end) in enumerate(windows) if begin <= n < end]
            best = max(candidates, key=lambda i: (preference(n, *windows[i], size), -i))
            selected.append(token_index[sequence + best, index, n])
    return selected


def distance_to_edge(n, begin, end, size):
    return min(n - begin if begin > 0 else np.inf, end - 1 - n if end < size else np.inf)


@given(some_rows)
def test_text_and_position_of_each_token(rows):
    layout = build_layout(rows)
    assert text_ids(layout.word_ids, layout.cu_seqlens).tolist() == layout.texts
    assert positions_in_text(layout.word_ids, layout.cu_seqlens, layout.window_starts).tolist() == layout.positions
    last = [len(rows[row].texts) - 1 for row in layout.row_ids]
    of_token = np.repeat(last, np.diff(layout.cu_seqlens))
    assert is_in_text(layout.word_ids, layout.cu_seqlens, "last").tolist() == (layout.texts == of_token).tolist()
    assert is_in_text(layout.word_ids, layout.cu_seqlens, "first").tolist() == [text == 0 for text in layout.texts]


@pytest.mark.parametrize("text", ["first", "last"])
@given(rows=some_rows)
def test_every_token_is_selected_once_from_the_window_with_most_context(text, rows):
    layout = build_layout(rows)
    assert tokens_with_most_context(*layout.windows, text).tolist() == select(
        rows, text, layout.token_index, distance_to_edge
    )


@pytest.mark.parametrize("text", ["first", "last"])
@given(rows=some_rows)
def test_every_token_is_selected_once_from_the_first_window_with_it(text, rows):
    layout = build_layout(rows)
    assert tokens_from_first_window(*layout.windows, text).tolist() == select(
        rows, text, layout.token_index, lambda *_: 0
    )


def test_next_window_is_used_from_the_middle_of_the_overlap():
    # windows 0 to 5 and 2 to 9 share 2 to 5; token 4 is 1 from the end of the first, 2 from the start of the second
    layout = build_layout([Row([[1] * 10], [(0, 6), (2, 10)])])
    assert [layout.positions[i] for i in tokens_with_most_context(*layout.windows, "last")] == list(range(10))
    for select_tokens, num_first in ((tokens_with_most_context, 4), (tokens_from_first_window, 6)):
        is_in_first = select_tokens(*layout.windows, "last") < layout.cu_seqlens[1]
        assert is_in_first.tolist() == [True] * num_first + [False] * (10 - num_first)


def test_first_text_of_a_pair_is_selected_from_the_first_window():
    layout = build_layout([Row([[1, 2], [1] * 9], [(0, 5), (3, 8), (6, 9)])])
    assert tokens_with_most_context(*layout.windows, "first").tolist() == [1, 2, 3]


@pytest.mark.parametrize("windows", [[(0, 3), (4, 6)], [(0, 4), (1, 3)], [(2, 4), (0, 6)], [(0, 3), (1, 3), (2, 6)]])
@pytest.mark.parametrize("select_tokens", [tokens_with_most_context, tokens_from_first_window])
def test_windows_out_of_order_with_a_gap_or_without_new_tokens_raise_an_error(windows, select_tokens):
    layout = build_layout([Row([[1]], [(0, 1)]), Row([[1] * 6], windows)])
    with pytest.raises(
        ValueError,
        match=r"window_starts: row 1, sequence 1: the next window has tokens .*, expected one that continues",
    ):
        select_tokens(*layout.windows, "last")
