"""Windows of long rows: which text a token belongs to, its number there, and in which window it is best read.

A row whose text is too long for the model is several sequences, windows of its last text that overlap; the first text
of a pair stands whole in each. `tokens_with_most_context` and `tokens_from_first_window` take every token of a text exactly once.

Letters: N rows, S sequences, T their tokens, K chosen tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Text = Literal["first", "last"]
"""Which text of a pair; of a single text both say the same."""


def text_ids(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32]) -> NDArray[np.int8]:
    """Tell which text of its sequence each token belongs to.

    Args:
        word_ids: int32 [T], -1 for special tokens; sequences are `<s> A </s>` or `<s> A </s> B </s>`.
        cu_seqlens: int32 [S + 1].

    Returns:
        int8 [T]: 0 for the first text, 1 for the second, -1 for special tokens.
    """
    special = word_ids < 0
    specials_before = np.cumsum(special, dtype=np.int32) - special
    text_T = specials_before - np.repeat(specials_before[cu_seqlens[:-1]], np.diff(cu_seqlens)) - 1
    return np.where(special, -1, text_T).astype(np.int8)


def is_in_text(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], text: Text) -> NDArray[np.bool_]:
    """Tell which tokens belong to the given text of their sequence; bool [T], never a special token.

    A second text without a token is still the last one of its sequence.
    """
    text_T = text_ids(word_ids, cu_seqlens)
    if text == "first":
        return text_T == 0
    return text_T == np.repeat(_num_texts(word_ids, cu_seqlens) - 1, np.diff(cu_seqlens))


def positions_in_text(
    word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], window_starts: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Number each token within its whole text.

    Args:
        word_ids: as for `text_ids`.
        cu_seqlens: int32 [S + 1].
        window_starts: int32 [S], number, within the whole last text, of the first token of it that the sequence holds.

    Returns:
        int32 [T]; -1 for special tokens.
    """
    place_T = np.arange(len(word_ids))
    special = word_ids < 0
    number_T = place_T - np.maximum.accumulate(np.where(special, place_T, 0)) - 1
    number_T += np.repeat(window_starts, np.diff(cu_seqlens)) * is_in_text(word_ids, cu_seqlens, "last")
    return np.where(special, -1, number_T).astype(np.int32)


def tokens_with_most_context(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: Text,
) -> NDArray[np.int64]:
    """Choose for each token of a text the window with the most context on its poorer side.

    A window's edge counts where the text goes on beyond it; the text's own beginning and end are no edges. Of windows
    that serve alike the earlier one is taken.

    Args:
        word_ids: as for `text_ids`.
        cu_seqlens: int32 [S + 1].
        row_ids: int32 [S], the row of each sequence, never decreasing.
        window_starts: as for `positions_in_text`.
        text: which text of each row.

    Returns:
        int64 [K], indices of tokens [T]: those of each row in the order of the text, each once.

    Raises:
        ValueError: the windows of a row are out of order, leave a gap or hold nothing new.
    """
    held = _hold(word_ids, cu_seqlens, row_ids, window_starts, text)
    begin, end = held.begin, held.end
    # The middle of what two windows share is as far from the earlier one's end as from the later one's beginning. But a
    # window that holds the text to its end has no edge there, and one that begins with the text has none before it.
    middle = (begin[1:] + end[:-1] + 1) // 2
    turn = np.where(held.complete[:-1], end[:-1], np.where(begin[1:] == 0, 0, middle))
    return _take(held, turn)


def tokens_from_first_window(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: Text,
) -> NDArray[np.int64]:
    """Choose for each token of a text the first window that holds it.

    That is the one with the most context to the left, which is all that a causal model reads. Takes, returns and raises
    what `tokens_with_most_context` does.
    """
    held = _hold(word_ids, cu_seqlens, row_ids, window_starts, text)
    return _take(held, held.end[:-1])


class _Held(NamedTuple):
    """What each window holds of the chosen text."""

    member: NDArray[np.bool_]  # [T], whether the token is of the text
    number: NDArray[np.int32]  # [T], its number there
    size: NDArray[np.int64]  # [S], tokens of the window, of whatever kind
    begin: NDArray[np.int64]  # [S], number of the text's first token that the window holds
    end: NDArray[np.int64]  # [S], of its last, exclusive
    complete: NDArray[np.bool_]  # [S], whether it holds the text to its end
    goes_on: NDArray[np.bool_]  # [S - 1], whether the next window is of the same row


def _hold(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: Text,
) -> _Held:
    member = is_in_text(word_ids, cu_seqlens, text)
    number = positions_in_text(word_ids, cu_seqlens, window_starts)
    moves = (text == "last") | (_num_texts(word_ids, cu_seqlens) == 1)  # the first text of a pair stands whole in each
    begin = np.where(moves, window_starts, 0).astype(np.int64)
    end = begin + np.add.reduceat(member, cu_seqlens[:-1], dtype=np.int64)
    goes_on = row_ids[1:] == row_ids[:-1]
    complete = end == end[np.searchsorted(row_ids, row_ids, side="right") - 1]
    moves_on = (end[:-1] < end[1:]) | (complete[:-1] & complete[1:])
    in_order = (begin[:-1] <= begin[1:]) & (begin[1:] <= end[:-1]) & moves_on
    wrong = goes_on & ~in_order
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"window_starts: row {row_ids[i]}, sequence {i}: expected the next window to go on from tokens {begin[i]} "
            f"to {end[i]} of the text, with no gap and something new, got tokens {begin[i + 1]} to {end[i + 1]}"
        )
    return _Held(member, number, np.diff(cu_seqlens).astype(np.int64), begin, end, complete, goes_on)


def _take(held: _Held, turn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take from each window the tokens below the number at which the next window of its row takes its turn, [S - 1]."""
    first, stop = held.begin.copy(), held.end.copy()
    first[1:][held.goes_on] = stop[:-1][held.goes_on] = turn[held.goes_on]
    mine = (held.number >= np.repeat(first, held.size)) & (held.number < np.repeat(stop, held.size))
    return np.flatnonzero(mine & held.member)


def _num_texts(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.add.reduceat(word_ids < 0, cu_seqlens[:-1], dtype=np.int64) - 1
