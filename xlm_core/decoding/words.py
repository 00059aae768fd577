"""From tokens to words: the characters of each word, and its scores from the scores of its subwords.

Words are those of the tokenizer (`word_ids`): produced by the segmenter of the language, or given in pre-split input.

Letters: S sequences, T their tokens, K tokens of the rows' texts, each once (see `windows`), W words, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xlm_core.decoding.marks import code_points
from xlm_core.errors import check_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Aggregation = Literal["first", "last", "max", "mean"]

# whether each code point is white space by `str.isspace`; the last such character is U+3000
_IS_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])


class WordSpans(NamedTuple):
    """The words of a batch of rows, ordered by row and position in the text; int64 [W] each.

    Attributes:
        row: the row of each word.
        number: the word's index within the text, from `word_ids`; indices of words without tokens are missing.
        start: first character in the row's text.
        end: last character, exclusive.
        first: index of the word's first subword among the tokens [K] that were joined.
        last: index of its last subword, inclusive.
    """

    row: NDArray[np.int64]
    number: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def join_subwords(
    tokens: NDArray[np.int64],
    word_ids: NDArray[np.int32],
    offsets: NDArray[np.int32],
    cu_seqlens: NDArray[np.int32],
    row_ids: NDArray[np.int32],
) -> WordSpans:
    """Join the subwords of each word, also if they come from different windows.

    Adjacent words that cover the same characters become one word: the rules of some languages split `…` into three full
    stops, or insert a comma before a quotation mark, and such words have the same offsets.

    Args:
        tokens: int64 [K], the tokens of one text of each row in order, from `windows.tokens_with_most_context`.
        word_ids: int32 [T].
        offsets: int32 [T, 2].
        cu_seqlens: int32 [S + 1].
        row_ids: int32 [S].
    """
    row = np.repeat(row_ids, np.diff(cu_seqlens))[tokens].astype(np.int64)
    number = word_ids[tokens].astype(np.int64)
    is_boundary = np.ones(len(tokens) + 1, np.bool_)
    is_boundary[1:-1] = (row[1:] != row[:-1]) | (number[1:] != number[:-1])
    first, last = np.flatnonzero(is_boundary[:-1]), np.flatnonzero(is_boundary[1:])
    start, end = offsets[tokens[first], 0].astype(np.int64), offsets[tokens[last], 1].astype(np.int64)
    differs = np.ones(len(first) + 1, np.bool_)
    differs[1:-1] = (row[first[1:]] != row[first[:-1]]) | (start[1:] != start[:-1]) | (end[1:] != end[:-1])
    differs[1:-1] |= start[1:] == end[1:]  # words without characters are not joined
    first_word, last_word = np.flatnonzero(differs[:-1]), np.flatnonzero(differs[1:])
    return WordSpans(
        row[first[first_word]],
        number[first[first_word]],
        start[first_word],
        end[first_word],
        first[first_word],
        last[last_word],
    )


def drop_blank_words(words: WordSpans, texts: Sequence[str]) -> WordSpans:
    """Remove words that contain only white space; the Thai and Japanese segmenters return spaces as words.

    Args:
        words: words of the rows.
        texts: N strings, the text of each row that the words refer to.
    """
    codes = code_points(texts)
    num_visible = np.cumsum(~_IS_BLANK[np.minimum(codes, len(_IS_BLANK) - 1)], dtype=np.int64)
    num_visible_before = np.concatenate([[0], num_visible])
    text_start = np.cumsum([0, *map(len, texts)])[words.row]
    kept = num_visible_before[text_start + words.end] > num_visible_before[text_start + words.start]
    return WordSpans(*(column[kept] for column in words))


def aggregate_scores(
    scores_TC: NDArray[np.float32], tokens: NDArray[np.int64], words: WordSpans, how: Aggregation
) -> NDArray[np.float32]:
    """Compute the scores of each word from the scores of its subwords.

    Args:
        scores_TC: probabilities of the labels for each token.
        tokens: int64 [K], the tokens that were joined to the words.
        words: the words.
        how: `first` and `last` use the scores of that subword, `max` the scores of the subword with the highest single
            score (the first one of equals), `mean` the mean over the subwords.

    Returns:
        float32 [W, C].
    """
    check_choice("how", how, Aggregation)
    if how == "first":
        return scores_TC[tokens[words.first]]
    if how == "last":
        return scores_TC[tokens[words.last]]
    num_subwords = words.last - words.first + 1
    word_start = np.cumsum(num_subwords) - num_subwords
    subwords = tokens[np.arange(num_subwords.sum()) + np.repeat(words.first - word_start, num_subwords)]
    if how == "mean":
        return (np.add.reduceat(scores_TC[subwords], word_start, axis=0) / num_subwords[:, None]).astype(np.float32)
    max_score = scores_TC[subwords].max(axis=1)
    is_highest = max_score == np.repeat(np.maximum.reduceat(max_score, word_start), num_subwords)
    highest = np.flatnonzero(is_highest)
    return scores_TC[subwords[highest[np.searchsorted(highest, word_start)]]]
