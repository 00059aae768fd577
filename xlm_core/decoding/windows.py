"""Windows of long rows: the text and the position of each token, and the window in which to read it.

A row whose text is too long for the model has several sequences: overlapping windows of its last text, each with the
whole first text of a pair. `tokens_with_most_context` and `tokens_from_first_window` select every token of a text
exactly once.

Letters: N rows, S sequences, T their tokens, K selected tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TextOfPair = Literal["first", "last"]
"""A text of a pair; for a single text both mean the same."""


def text_ids(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32]) -> NDArray[np.int8]:
    """Find the text that each token belongs to.

    Args:
        word_ids: int32 [T], -1 for special tokens; sequences are `<s> A </s>` or `<s> A </s> B </s>`.
        cu_seqlens: int32 [S + 1].

    Returns:
        int8 [T]: 0 for the first text, 1 for the second, -1 for special tokens.
    """
    is_special = word_ids < 0
    specials_before = np.cumsum(is_special, dtype=np.int32) - is_special
    text_T = specials_before - np.repeat(specials_before[cu_seqlens[:-1]], np.diff(cu_seqlens)) - 1
    return np.where(is_special, -1, text_T).astype(np.int8)


def is_in_text(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], text: TextOfPair) -> NDArray[np.bool_]:
    """Compute whether each token belongs to the given text of its sequence; bool [T], False for special tokens.

    A second text without tokens still counts as the last text.
    """
    text_T = text_ids(word_ids, cu_seqlens)
    if text == "first":
        return text_T == 0
    return text_T == np.repeat(_num_texts(word_ids, cu_seqlens) - 1, np.diff(cu_seqlens))


def positions_in_text(
    word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], window_starts: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Compute the position of each token within its whole text.

    Args:
        word_ids: as for `text_ids`.
        cu_seqlens: int32 [S + 1].
        window_starts: int32 [S], position, within the whole last text, of its first token in the sequence.

    Returns:
        int32 [T]; -1 for special tokens.
    """
    token_T = np.arange(len(word_ids))
    is_special = word_ids < 0
    position_T = token_T - np.maximum.accumulate(np.where(is_special, token_T, 0)) - 1
    position_T += np.repeat(window_starts, np.diff(cu_seqlens)) * is_in_text(word_ids, cu_seqlens, "last")
    return np.where(is_special, -1, position_T).astype(np.int32)


def tokens_with_most_context(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: TextOfPair,
) -> NDArray[np.int64]:
    """Select each token of a text once, from the window in which it is farthest from an edge.

    Only the edges where the text continues count, not the start and end of the text. If two windows are equally good,
    the first one is used.

    Args:
        word_ids: as for `text_ids`.
        cu_seqlens: int32 [S + 1].
        row_ids: int32 [S], the row of each sequence, never decreasing.
        window_starts: as for `positions_in_text`.
        text: the text of each row.

    Returns:
        int64 [K], indices of tokens [T]: the tokens of each row in the order of the text, each once.

    Raises:
        ValueError: the windows of a row are out of order, leave a gap, or a window contains no new token.
    """
    contents = _window_contents(word_ids, cu_seqlens, row_ids, window_starts, text)
    begin, end = contents.begin, contents.end
    # The middle of the overlap of two windows is equally far from the end of the first and the start of the second. But
    # a window that reaches the end of the text has no edge there, and one at the start of the text has none before it.
    middle = (begin[1:] + end[:-1] + 1) // 2
    boundary = np.where(contents.reaches_end[:-1], end[:-1], np.where(begin[1:] == 0, 0, middle))
    return _select_tokens(contents, boundary)


def tokens_from_first_window(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: TextOfPair,
) -> NDArray[np.int64]:
    """Select each token of a text once, from the first window that contains it.

    This is the window with the most context on the left, which is the only context that a causal model uses. Arguments,
    result and errors are those of `tokens_with_most_context`.
    """
    contents = _window_contents(word_ids, cu_seqlens, row_ids, window_starts, text)
    return _select_tokens(contents, contents.end[:-1])


class _WindowContents(NamedTuple):
    """The part of the text in each window."""

    in_text: NDArray[np.bool_]  # [T], whether the token belongs to the text
    position: NDArray[np.int32]  # [T], its position in the whole text
    num_tokens: NDArray[np.int64]  # [S], tokens of the window, special tokens and other texts included
    begin: NDArray[np.int64]  # [S], position of the text's first token in the window
    end: NDArray[np.int64]  # [S], position of its last token, exclusive
    reaches_end: NDArray[np.bool_]  # [S], whether the window reaches the end of the text
    continues: NDArray[np.bool_]  # [S - 1], whether the next window belongs to the same row


def _window_contents(
    word_ids: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
    window_starts: NDArray[np.int32],
    text: TextOfPair,
) -> _WindowContents:
    in_text = is_in_text(word_ids, cu_seqlens, text)
    position = positions_in_text(word_ids, cu_seqlens, window_starts)
    # every window contains the whole first text of a pair
    is_windowed = (text == "last") | (_num_texts(word_ids, cu_seqlens) == 1)
    begin = np.where(is_windowed, window_starts, 0).astype(np.int64)
    end = begin + np.add.reduceat(in_text, cu_seqlens[:-1], dtype=np.int64)
    continues = row_ids[1:] == row_ids[:-1]
    reaches_end = end == end[np.searchsorted(row_ids, row_ids, side="right") - 1]
    has_new_tokens = (end[:-1] < end[1:]) | (reaches_end[:-1] & reaches_end[1:])
    is_in_order = (begin[:-1] <= begin[1:]) & (begin[1:] <= end[:-1]) & has_new_tokens
    is_wrong = continues & ~is_in_order
    if is_wrong.any():
        i = int(np.argmax(is_wrong))
        raise ValueError(
            f"window_starts: row {row_ids[i]}, sequence {i}: the next window has tokens {begin[i + 1]} to {end[i + 1]}"
            f" of the text, expected one that continues after tokens {begin[i]} to {end[i]} without a gap and with new"
            " tokens"
        )
    num_tokens = np.diff(cu_seqlens).astype(np.int64)
    return _WindowContents(in_text, position, num_tokens, begin, end, reaches_end, continues)


def _select_tokens(contents: _WindowContents, boundary: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select the tokens of each window before `boundary` [S - 1], the position from which the next window is used."""
    first, stop = contents.begin.copy(), contents.end.copy()
    first[1:][contents.continues] = stop[:-1][contents.continues] = boundary[contents.continues]
    is_after = contents.position >= np.repeat(first, contents.num_tokens)
    is_before = contents.position < np.repeat(stop, contents.num_tokens)
    return np.flatnonzero(is_after & is_before & contents.in_text)


def _num_texts(word_ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.add.reduceat(word_ids < 0, cu_seqlens[:-1], dtype=np.int64) - 1
