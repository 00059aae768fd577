"""Windows of long rows: every token of a text once, from the window that reads it best."""

import numpy as np
import pytest
from hypothesis import given

from tests.xlm_core.decoding.windowed_rows import Row, lay_out, some_rows
from xlm_core.decoding import (
    is_in_text,
    positions_in_text,
    text_ids,
    tokens_from_first_window,
    tokens_with_most_context,
)


def windows_of(rows, text):
    """For each row: its first sequence, the windows' tokens of the text, the text's number and its size."""
    sequence = 0
    for row in rows:
        last = len(row.texts) - 1
        number = 0 if text == "first" else last
        size = sum(row.texts[number])
        yield sequence, row.windows if number == last else [(0, size)] * len(row.windows), number, size
        sequence += len(row.windows)


def choose(rows, text, places, prefer):
    """Choose token by token: the window for which `prefer` is largest, the earlier one of two."""
    chosen = []
    for sequence, windows, number, size in windows_of(rows, text):
        for n in range(size):
            holding = [i for i, (begin, end) in enumerate(windows) if begin <= n < end]
            best = max(holding, key=lambda i: (prefer(n, *windows[i], size), -i))
            chosen.append(places[sequence + best, number, n])
    return chosen


def distance_to_edge(n, begin, end, size):
    return min(n - begin if begin > 0 else np.inf, end - 1 - n if end < size else np.inf)


@given(some_rows)
def test_each_token_knows_its_text_and_its_number_there(rows):
    layout = lay_out(rows)
    assert text_ids(layout.word_ids, layout.cu_seqlens).tolist() == layout.texts
    assert positions_in_text(layout.word_ids, layout.cu_seqlens, layout.window_starts).tolist() == layout.numbers
    last = [len(rows[row].texts) - 1 for row in layout.row_ids]
    of_token = np.repeat(last, np.diff(layout.cu_seqlens))
    assert is_in_text(layout.word_ids, layout.cu_seqlens, "last").tolist() == (layout.texts == of_token).tolist()
    assert is_in_text(layout.word_ids, layout.cu_seqlens, "first").tolist() == [text == 0 for text in layout.texts]


@pytest.mark.parametrize("text", ["first", "last"])
@given(rows=some_rows)
def test_every_token_is_taken_once_from_its_most_central_window(text, rows):
    layout = lay_out(rows)
    assert tokens_with_most_context(*layout.windows, text).tolist() == choose(
        rows, text, layout.places, distance_to_edge
    )


@pytest.mark.parametrize("text", ["first", "last"])
@given(rows=some_rows)
def test_every_token_is_taken_once_from_the_first_window_that_holds_it(text, rows):
    layout = lay_out(rows)
    assert tokens_from_first_window(*layout.windows, text).tolist() == choose(rows, text, layout.places, lambda *_: 0)


def test_windows_take_turns_in_the_middle_of_what_they_share():
    # of tokens 0 to 9, windows 0 to 5 and 2 to 9 share 2 to 5; token 4 is 1 from the earlier's end, 2 from the later's
    layout = lay_out([Row([[1] * 10], [(0, 6), (2, 10)])])
    assert [layout.numbers[i] for i in tokens_with_most_context(*layout.windows, "last")] == list(range(10))
    assert (tokens_with_most_context(*layout.windows, "last") < layout.cu_seqlens[1]).tolist() == [True] * 4 + [
        False
    ] * 6
    assert (tokens_from_first_window(*layout.windows, "last") < layout.cu_seqlens[1]).tolist() == [True] * 6 + [
        False
    ] * 4


def test_the_first_text_of_a_pair_is_taken_from_its_first_window():
    layout = lay_out([Row([[1, 2], [1] * 9], [(0, 5), (3, 8), (6, 9)])])
    assert tokens_with_most_context(*layout.windows, "first").tolist() == [1, 2, 3]


@pytest.mark.parametrize("windows", [[(0, 3), (4, 6)], [(0, 4), (1, 3)], [(2, 4), (0, 6)], [(0, 3), (1, 3), (2, 6)]])
@pytest.mark.parametrize("choice", [tokens_with_most_context, tokens_from_first_window])
def test_windows_with_a_gap_or_out_of_order_or_with_nothing_new_are_refused(windows, choice):
    layout = lay_out([Row([[1]], [(0, 1)]), Row([[1] * 6], windows)])
    with pytest.raises(ValueError, match=r"window_starts: row 1, sequence 1: expected the next window to go on"):
        choice(*layout.windows, "last")
