"""From scores of tokens to answers: the best spans of each window, and the best of each row.

A model that answers questions says for every token how likely an answer starts or ends there. `simple_candidates` reads
what the simple head gives and `beam_candidates` what the beam head gives; `merge_answers` takes either, window by
window, to characters of the row's context.

Letters: N rows, S sequences (windows), T their tokens, K candidates, P start and E end beams of a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHED_AT_ONCE = 1 << 20  # tokens and spans that are weighed at once: some 40 MB, whatever the shard


class Candidates(NamedTuple):
    """Possible answers, by sequence, best first.

    Attributes:
        sequence: int64 [K].
        start: int64 [K], the first token, an index of all tokens [T].
        end: int64 [K], the last token, inclusive.
        score: float64 [K], probability of the start times that of the end.
    """

    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    score: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> Candidates:
        """Give those that the index names, in its order."""
        return Candidates(self.sequence[index], self.start[index], self.end[index], self.score[index])


class Answers(NamedTuple):
    """Answers in the context, by row, best first; of two alike the earlier, then the shorter.

    Attributes:
        row: int64 [A].
        start: int64 [A], first character of the context.
        end: int64 [A], last character, exclusive.
        score: float64 [A].
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    score: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> Answers:
        """Give those that the index names, in its order."""
        return Answers(self.row[index], self.start[index], self.end[index], self.score[index])


def find_class_tokens(ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], cls_token_id: int) -> NDArray[np.int64]:
    """Find the token of each sequence that stands for no answer, int64 [S]: the first of that id.

    XLM's class token is `</s>`, so of a question and a context it is the one between them: so the family's SQuAD
    training has it (transformers, data/processors/squad.py).

    Raises:
        ValueError: a sequence without one.
    """
    places = np.flatnonzero(ids == cls_token_id)
    first = np.searchsorted(places, cu_seqlens[:-1])
    found = np.append(places, len(ids))[first]
    if (found >= cu_seqlens[1:]).any():
        raise ValueError(f"cls_token_id {cls_token_id}: not every sequence has such a token")
    return found


def simple_candidates(
    start_logits: NDArray[np.float32],
    end_logits: NDArray[np.float32],
    cu_seqlens: NDArray[np.int32],
    class_tokens_S: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    top_k: int,
    max_answer_tokens: int,
) -> tuple[Candidates, NDArray[np.float64]]:
    """Find the best answers of each window from the logits of the simple head.

    Probabilities are each window's own, over its allowed tokens and its class token.

    Args:
        start_logits: float32 [T].
        end_logits: float32 [T].
        cu_seqlens: int32 [S + 1].
        class_tokens_S: int64 [S], indices of tokens [T], as `find_class_tokens` gives them.
        allowed: bool [T], tokens an answer may hold: those of the context, `windows.is_in_text(…, "last")`.
        top_k: answers of each window at most.
        max_answer_tokens: tokens of an answer at most.

    Returns:
        The candidates, and float64 [S]: the score that the window holds no answer.
    """
    _check(top_k, max_answer_tokens)
    borders = cu_seqlens.astype(np.int64)
    weighed = allowed.copy()
    weighed[class_tokens_S] = True
    start_T, end_T = _softmax(start_logits, borders, weighed), _softmax(end_logits, borders, weighed)
    no_answer_S = start_T[class_tokens_S] * end_T[class_tokens_S]
    longest = int(np.diff(borders).max(initial=1))
    span = min(max_answer_tokens, longest)
    at_once = max(_WEIGHED_AT_ONCE // (longest + min(top_k, longest) * span), 1)
    found: list[Candidates] = []
    for first in range(0, max(len(no_answer_S), 1), at_once):
        cut = borders[first : first + at_once + 1]
        part = slice(cut[0], cut[-1])
        best = _best_spans(start_T[part], end_T[part], cut - cut[0], allowed[part], top_k, span)
        found.append(Candidates(best.sequence + first, best.start + cut[0], best.end + cut[0], best.score))
    return Candidates(*(np.concatenate(columns) for columns in zip(*found, strict=True))), no_answer_S


def beam_candidates(
    start_probs: NDArray[np.float32],
    start_index: NDArray[np.int64],
    end_probs: NDArray[np.float32],
    end_index: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    cu_seqlens: NDArray[np.int32],
    top_k: int,
    max_answer_tokens: int,
) -> Candidates:
    """Find the best answers of each window from the beams of the beam head.

    Args:
        start_probs: float32 [S, P], probability of each likely start.
        start_index: int [S, P], its number within the sequence; -1 where there is none.
        end_probs: float32 [S, E * P], for each start the probability of its likely ends; end e of start p is e * P + p.
        end_index: int [S, E * P], likewise.
        allowed: bool [T], as for `simple_candidates`.
        cu_seqlens: int32 [S + 1].
        top_k: answers of each window at most.
        max_answer_tokens: tokens of an answer at most.
    """
    _check(top_k, max_answer_tokens)
    num_starts = start_index.shape[1]
    sequence, place = np.nonzero(end_index >= 0)
    begin = start_index[sequence, place % num_starts].astype(np.int64)
    finish = end_index[sequence, place].astype(np.int64)
    score = start_probs[sequence, place % num_starts].astype(np.float64) * end_probs[sequence, place]
    kept = (begin >= 0) & (finish >= begin) & (finish - begin < max_answer_tokens)
    base = cu_seqlens[sequence].astype(np.int64)
    start, end = base + begin, base + finish
    kept[kept] = allowed[start[kept]] & allowed[end[kept]]
    every = Candidates(sequence[kept], start[kept], end[kept], score[kept])
    every = every.take(np.lexsort((every.end, every.start, every.sequence)))
    return every.take(_best_of_each(every.sequence, every.score, top_k))


def merge_answers(
    candidates: Candidates,
    row_ids: NDArray[np.int32],
    offsets: NDArray[np.int32],
    top_k: int,
) -> Answers:
    """Choose the best answers of each row among those of its windows, as characters of the context.

    A span that several windows or several pairs of tokens name counts once, with its best score. Tokens that stand for
    no character do not widen an answer, and an answer of such tokens alone is none.

    Args:
        candidates: of every window; ask each for no fewer than `top_k`.
        row_ids: int32 [S], never decreasing.
        offsets: int32 [T, 2], characters of the context; they never decrease within a text.
        top_k: answers of each row at most.
    """
    place = np.arange(len(offsets))
    solid = offsets[:, 0] < offsets[:, 1]
    first = np.minimum.accumulate(np.where(solid, place, len(place))[::-1])[::-1][candidates.start]
    last = np.maximum.accumulate(np.where(solid, place, -1))[candidates.end]
    some = first <= last
    row = row_ids[candidates.sequence[some]].astype(np.int64)
    start, end = offsets[first[some], 0].astype(np.int64), offsets[last[some], 1].astype(np.int64)
    every = Answers(row, start, end, candidates.score[some])
    every = every.take(np.lexsort((-every.score, every.end, every.start, every.row)))
    new = np.ones(len(every.row), np.bool_)
    new[1:] = np.any([np.diff(column) != 0 for column in (every.row, every.start, every.end)], axis=0)
    every = every.take(np.flatnonzero(new))
    return every.take(_best_of_each(every.row, every.score, top_k))


def no_answer_scores(
    no_answer_S: NDArray[np.float64], row_ids: NDArray[np.int32], num_rows: int
) -> NDArray[np.float64]:
    """Give the score that a row holds no answer, float64 [N]: the smallest over its windows, 1 where it has none."""
    score_N = np.ones(num_rows)
    np.minimum.at(score_N, row_ids, no_answer_S)
    return score_N


def _best_spans(
    start_T: NDArray[np.float64],
    end_T: NDArray[np.float64],
    cu_seqlens: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    top_k: int,
    span: int,
) -> Candidates:
    """Find the best spans of each sequence without weighing all of them.

    A start is worth what it makes with its best end. At least top_k starts are worth as much as the one of rank top_k,
    so none of the best top_k spans is below that.
    """
    size = np.diff(cu_seqlens)
    sequence_T = np.repeat(np.arange(len(size)), size)
    end_T = np.where(allowed, end_T, 0)
    worth_T = np.where(allowed, start_T * _largest_ahead(end_T, sequence_T, span), -1)
    worth_SL = np.full((len(size), size.max(initial=1) + 1), -1.0)  # one more: with fewer starts than top_k all count
    worth_SL[sequence_T, np.arange(len(sequence_T)) - cu_seqlens[sequence_T]] = worth_T
    rank = worth_SL.shape[1] - min(top_k, worth_SL.shape[1])
    least_S = np.partition(worth_SL, rank, axis=1)[:, rank]

    start = np.flatnonzero(allowed & (worth_T >= least_S[sequence_T]))
    start = np.sort(start[_best_of_each(sequence_T[start], worth_T[start], top_k)])  # of many alike, the earlier
    sequence = sequence_T[start]
    end = start[:, None] + np.arange(span)
    inside = end < cu_seqlens[sequence + 1, None]
    end = np.where(inside, end, start[:, None])
    score = start_T[start, None] * end_T[end]
    which, ahead = np.nonzero(inside & allowed[end] & (score >= least_S[sequence, None]))
    every = Candidates(sequence[which], start[which], start[which] + ahead, score[which, ahead])
    return every.take(_best_of_each(every.sequence, every.score, top_k))


def _largest_ahead(values_T: NDArray[np.float64], sequence_T: NDArray[np.int64], span: int) -> NDArray[np.float64]:
    """Give the largest of each value and the `span - 1` after it in its sequence; values are not negative."""
    largest, covered = values_T.copy(), 1
    while covered < span:
        step = min(covered, span - covered)  # two stretches that overlap or touch: log2(span) rounds in all
        largest[:-step] = np.maximum(largest[:-step], largest[step:] * (sequence_T[step:] == sequence_T[:-step]))
        covered += step
    return largest


def _softmax(
    logits_T: NDArray[np.float32], cu_seqlens: NDArray[np.int64], weighed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Give the probabilities of those of each sequence's tokens that are weighed, at least one; 0 for the others."""
    size, first = np.diff(cu_seqlens), cu_seqlens[:-1]
    logits_T = np.where(weighed, logits_T.astype(np.float64), -np.inf)
    odds_T = np.exp(logits_T - np.repeat(np.maximum.reduceat(logits_T, first), size))
    return odds_T / np.repeat(np.add.reduceat(odds_T, first), size)


def _best_of_each(group: NDArray[np.int64], score: NDArray[np.float64], top_k: int) -> NDArray[np.int64]:
    """Give the indices of each group's `top_k` best, best first, of equal ones the earlier; groups never decrease."""
    place = np.arange(len(group))
    opens = np.ones(len(group), np.bool_)
    opens[1:] = group[1:] != group[:-1]
    rank = place - np.maximum.accumulate(np.where(opens, place, 0))
    return np.lexsort((-score, group))[rank < top_k]


def _check(top_k: int, max_answer_tokens: int) -> None:
    for name, value in (("top_k", top_k), ("max_answer_tokens", max_answer_tokens)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
