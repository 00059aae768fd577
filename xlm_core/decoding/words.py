"""From tokens to words: where each word stands in the text, and its scores from those of its pieces.

WordSpans are the tokenizer's (`word_ids`): those of the language's segmenter, or the given ones of pre-split input.

Letters: S sequences, T their tokens, K tokens of the rows' texts, each once (see `windows`), W words, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Aggregation = Literal["first", "last", "max", "mean"]


# white space by code point, as `str.isspace` has it; the last such character is U+3000
_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])


class WordSpans(NamedTuple):
    """The words of a batch of rows, by row and place in the text; int64 [W] each.

    Attributes:
        row: the row each word belongs to.
        number: its number within the text, as `word_ids` has it; a word without a token leaves its number out.
        start: first character in the row's text.
        end: last character, exclusive.
        first: place of its first piece among the tokens [K] it was joined from.
        last: place of its last piece there, inclusive.
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
    """Join the pieces of each word, also where they were read in different windows.

    WordSpans that stand for the same characters are one: the rules of some languages make three full stops of `…`, or put a
    comma before a quotation mark, and then cannot tell which is which.

    Args:
        tokens: int64 [K], the tokens of one text of each row in order, as `windows.tokens_with_most_context` gives them.
        word_ids: int32 [T].
        offsets: int32 [T, 2].
        cu_seqlens: int32 [S + 1].
        row_ids: int32 [S].
    """
    row = np.repeat(row_ids, np.diff(cu_seqlens))[tokens].astype(np.int64)
    number = word_ids[tokens].astype(np.int64)
    border = np.ones(len(tokens) + 1, np.bool_)
    border[1:-1] = (row[1:] != row[:-1]) | (number[1:] != number[:-1])
    first, last = np.flatnonzero(border[:-1]), np.flatnonzero(border[1:])
    start, end = offsets[tokens[first], 0].astype(np.int64), offsets[tokens[last], 1].astype(np.int64)
    apart = np.ones(len(first) + 1, np.bool_)
    apart[1:-1] = (row[first[1:]] != row[first[:-1]]) | (start[1:] != start[:-1]) | (end[1:] != end[:-1])
    apart[1:-1] |= start[1:] == end[1:]
    kept, final = np.flatnonzero(apart[:-1]), np.flatnonzero(apart[1:])
    return WordSpans(row[first[kept]], number[first[kept]], start[kept], end[kept], first[kept], last[final])


def drop_blank_words(words: WordSpans, texts: Sequence[str]) -> WordSpans:
    """Leave out words of white space alone: the Thai and Japanese segmenters call a space a word.

    Args:
        words: words of the rows.
        texts: N strings, the text of each row that the words stand in.
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    solid = np.cumsum(~_BLANK[np.minimum(codes, len(_BLANK) - 1)], dtype=np.int64)
    solid_before = np.concatenate([[0], solid])
    base = np.cumsum([0, *map(len, texts)])[words.row]
    kept = solid_before[base + words.end] > solid_before[base + words.start]
    return WordSpans(*(column[kept] for column in words))


def aggregate_scores(
    scores_TC: NDArray[np.float32], tokens: NDArray[np.int64], words: WordSpans, how: Aggregation
) -> NDArray[np.float32]:
    """Give each word scores per label from those of its pieces.

    Args:
        scores_TC: probabilities of each token's labels.
        tokens: int64 [K], what the words were joined from.
        words: the words.
        how: `first` and `last` take that piece's scores, `max` those of the piece with the highest single score (the
            earlier one of two alike), `mean` the mean over the pieces.

    Returns:
        float32 [W, C].
    """
    if how == "first":
        return scores_TC[tokens[words.first]]
    if how == "last":
        return scores_TC[tokens[words.last]]
    size = words.last - words.first + 1
    begin = np.cumsum(size) - size
    pieces = tokens[np.arange(size.sum()) + np.repeat(words.first - begin, size)]
    if how == "mean":
        return (np.add.reduceat(scores_TC[pieces], begin, axis=0) / size[:, None]).astype(np.float32)
    if how == "max":
        peak = scores_TC[pieces].max(axis=1)
        highest = np.flatnonzero(peak == np.repeat(np.maximum.reduceat(peak, begin), size))
        return scores_TC[pieces[highest[np.searchsorted(highest, begin)]]]
    raise ValueError(f"how: expected first, last, max or mean, got {how!r}")
