"""From scores of tokens to answers: the best spans of each window, and the best answers of each row.

A question answering model scores each token as the start and as the end of an answer. `simple_candidates` reads the
output of the simple head and `beam_candidates` the output of the beam head; `merge_answers` converts the candidates of
the windows to characters of the row's context.

Letters: N rows, S sequences (windows), T their tokens, K candidates, L padded length, P starts of a sequence, E ends
per start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.errors import check_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_CHUNK_SIZE = 1 << 20  # tokens and spans that are scored at once: about 40 MB for a shard of any size


class Candidates(NamedTuple):
    """Possible answers, by sequence, best first.

    Attributes:
        sequence: int64 [K].
        start: int64 [K], first token, an index into all tokens [T].
        end: int64 [K], last token, inclusive.
        score: float64 [K], probability of the start times probability of the end.
    """

    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    score: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> Candidates:
        """Return the candidates that the index selects, in its order."""
        return Candidates(self.sequence[index], self.start[index], self.end[index], self.score[index])


class Answers(NamedTuple):
    """Answers in the context, by row, best first; equal scores are ordered by start, then by length.

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
        """Return the answers that the index selects, in its order."""
        return Answers(self.row[index], self.start[index], self.end[index], self.score[index])


def find_class_tokens(ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], cls_token_id: int) -> NDArray[np.int64]:
    """Find the token of each sequence that represents "no answer", int64 [S]: the first one with the class token's id.

    XLM's class token is `</s>`, so in a question and a context it is the token between them, as in the SQuAD training
    of XLM models (transformers, data/processors/squad.py).

    Raises:
        ValueError: a sequence has no class token.
    """
    all_class_tokens = np.flatnonzero(ids == cls_token_id)
    first = np.searchsorted(all_class_tokens, cu_seqlens[:-1])
    found = np.append(all_class_tokens, len(ids))[first]
    if (found >= cu_seqlens[1:]).any():
        raise ValueError(f"cls_token_id: a sequence has no token {cls_token_id}, expected one in every sequence")
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

    Probabilities are computed for each window separately, over its allowed tokens and its class token.

    Args:
        start_logits: float32 [T].
        end_logits: float32 [T].
        cu_seqlens: int32 [S + 1].
        class_tokens_S: int64 [S], token indices, from `find_class_tokens`.
        allowed: bool [T], whether an answer may contain the token: the tokens of the context, from
            `windows.is_in_text(…, "last")`.
        top_k: maximum number of answers per window.
        max_answer_tokens: maximum number of tokens of an answer.

    Returns:
        The candidates, and float64 [S]: the score that the window contains no answer.
    """
    _check_limits(top_k, max_answer_tokens)
    cu_seqlens_S = cu_seqlens.astype(np.int64)
    has_probability = allowed.copy()
    has_probability[class_tokens_S] = True
    start_T = _softmax_per_sequence(start_logits, cu_seqlens_S, has_probability)
    end_T = _softmax_per_sequence(end_logits, cu_seqlens_S, has_probability)
    no_answer_S = start_T[class_tokens_S] * end_T[class_tokens_S]
    max_seqlen = int(np.diff(cu_seqlens_S).max(initial=1))
    max_span = min(max_answer_tokens, max_seqlen)
    chunk_size = max(_MAX_CHUNK_SIZE // (max_seqlen + min(top_k, max_seqlen) * max_span), 1)
    chunks: list[Candidates] = []
    for first in range(0, max(len(no_answer_S), 1), chunk_size):
        bounds = cu_seqlens_S[first : first + chunk_size + 1]
        tokens = slice(bounds[0], bounds[-1])
        best = _best_spans(start_T[tokens], end_T[tokens], bounds - bounds[0], allowed[tokens], top_k, max_span)
        chunks.append(Candidates(best.sequence + first, best.start + bounds[0], best.end + bounds[0], best.score))
    return Candidates(*(np.concatenate(columns) for columns in zip(*chunks, strict=True))), no_answer_S


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
        start_probs: float32 [S, P], probability of each start.
        start_index: int [S, P], position of the start within the sequence; -1 if there is none.
        end_probs: float32 [S, E * P], probabilities of the ends given each start; end e of start p is at e * P + p.
        end_index: int [S, E * P], positions of the ends.
        allowed: bool [T], as for `simple_candidates`.
        cu_seqlens: int32 [S + 1].
        top_k: maximum number of answers per window.
        max_answer_tokens: maximum number of tokens of an answer.
    """
    _check_limits(top_k, max_answer_tokens)
    num_starts = start_index.shape[1]
    sequence, beam = np.nonzero(end_index >= 0)
    start_position = start_index[sequence, beam % num_starts].astype(np.int64)
    end_position = end_index[sequence, beam].astype(np.int64)
    score = start_probs[sequence, beam % num_starts].astype(np.float64) * end_probs[sequence, beam]
    kept = (start_position >= 0) & (end_position >= start_position)
    kept &= end_position - start_position < max_answer_tokens
    sequence_start = cu_seqlens[sequence].astype(np.int64)
    start, end = sequence_start + start_position, sequence_start + end_position
    kept[kept] = allowed[start[kept]] & allowed[end[kept]]
    candidates = Candidates(sequence[kept], start[kept], end[kept], score[kept])
    candidates = candidates.take(np.lexsort((candidates.end, candidates.start, candidates.sequence)))
    return candidates.take(_best_of_each_group(candidates.sequence, candidates.score, top_k))


def merge_answers(
    candidates: Candidates,
    row_ids: NDArray[np.int32],
    offsets: NDArray[np.int32],
    top_k: int,
) -> Answers:
    """Select the best answers of each row from the candidates of its windows, as characters of the context.

    A span that occurs in several windows, or for several pairs of tokens, is returned once, with its best score. Tokens
    without characters do not extend an answer; a candidate of such tokens alone is dropped.

    Args:
        candidates: of all windows; compute at least `top_k` for each.
        row_ids: int32 [S], never decreasing.
        offsets: int32 [T, 2], characters of the context, never decreasing within a text.
        top_k: maximum number of answers per row.
    """
    token = np.arange(len(offsets))
    has_characters = offsets[:, 0] < offsets[:, 1]
    # the first token with characters from the start on, and the last one up to the end
    next_token = np.minimum.accumulate(np.where(has_characters, token, len(token))[::-1])[::-1]
    previous_token = np.maximum.accumulate(np.where(has_characters, token, -1))
    first, last = next_token[candidates.start], previous_token[candidates.end]
    kept = first <= last
    row = row_ids[candidates.sequence[kept]].astype(np.int64)
    start, end = offsets[first[kept], 0].astype(np.int64), offsets[last[kept], 1].astype(np.int64)
    answers = Answers(row, start, end, candidates.score[kept])
    answers = answers.take(np.lexsort((-answers.score, answers.end, answers.start, answers.row)))
    is_new = np.ones(len(answers.row), np.bool_)
    is_new[1:] = np.any([np.diff(column) != 0 for column in (answers.row, answers.start, answers.end)], axis=0)
    answers = answers.take(np.flatnonzero(is_new))
    return answers.take(_best_of_each_group(answers.row, answers.score, top_k))


def no_answer_scores(
    no_answer_S: NDArray[np.float64], row_ids: NDArray[np.int32], num_rows: int
) -> NDArray[np.float64]:
    """Compute the score that each row has no answer, float64 [N]: the minimum over its windows, 1 without windows."""
    score_N = np.ones(num_rows)
    np.minimum.at(score_N, row_ids, no_answer_S)
    return score_N


def _best_spans(
    start_T: NDArray[np.float64],
    end_T: NDArray[np.float64],
    cu_seqlens: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    top_k: int,
    max_span: int,
) -> Candidates:
    """Find the best spans of each sequence without scoring all spans.

    The value of a start is the score of its best span. At least `top_k` starts have a value of at least the `top_k`-th
    largest value, so none of the best `top_k` spans has a lower score.
    """
    lengths = np.diff(cu_seqlens)
    sequence_T = np.repeat(np.arange(len(lengths)), lengths)
    end_T = np.where(allowed, end_T, 0)
    value_T = np.where(allowed, start_T * _max_of_next(end_T, sequence_T, max_span), -1)
    # one more column than tokens: with fewer starts than top_k, the threshold is -1 and all starts are kept
    value_SL = np.full((len(lengths), lengths.max(initial=1) + 1), -1.0)
    value_SL[sequence_T, np.arange(len(sequence_T)) - cu_seqlens[sequence_T]] = value_T
    rank = value_SL.shape[1] - min(top_k, value_SL.shape[1])
    threshold_S = np.partition(value_SL, rank, axis=1)[:, rank]

    start = np.flatnonzero(allowed & (value_T >= threshold_S[sequence_T]))
    start = np.sort(start[_best_of_each_group(sequence_T[start], value_T[start], top_k)])  # of equal ones, the first
    sequence = sequence_T[start]
    end = start[:, None] + np.arange(max_span)
    is_inside = end < cu_seqlens[sequence + 1, None]
    end = np.where(is_inside, end, start[:, None])
    score = start_T[start, None] * end_T[end]
    which, length = np.nonzero(is_inside & allowed[end] & (score >= threshold_S[sequence, None]))
    candidates = Candidates(sequence[which], start[which], start[which] + length, score[which, length])
    return candidates.take(_best_of_each_group(candidates.sequence, candidates.score, top_k))


def _max_of_next(values_T: NDArray[np.float64], sequence_T: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Compute the maximum of each value and the `window - 1` next ones of its sequence; values must not be negative."""
    maximum, covered = values_T.copy(), 1
    while covered < window:
        step = min(covered, window - covered)  # two ranges that overlap or touch: log2(window) rounds in all
        maximum[:-step] = np.maximum(maximum[:-step], maximum[step:] * (sequence_T[step:] == sequence_T[:-step]))
        covered += step
    return maximum


def _softmax_per_sequence(
    logits_T: NDArray[np.float32], cu_seqlens: NDArray[np.int64], included: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compute the softmax over the included tokens of each sequence, at least one; 0 for the other tokens."""
    lengths, first = np.diff(cu_seqlens), cu_seqlens[:-1]
    logits_T = np.where(included, logits_T.astype(np.float64), -np.inf)
    exp_T = np.exp(logits_T - np.repeat(np.maximum.reduceat(logits_T, first), lengths))
    return exp_T / np.repeat(np.add.reduceat(exp_T, first), lengths)


def _best_of_each_group(group: NDArray[np.int64], score: NDArray[np.float64], top_k: int) -> NDArray[np.int64]:
    """Return the indices of the `top_k` best of each group, best first, equal ones in order; groups never decrease."""
    index = np.arange(len(group))
    is_first = np.ones(len(group), np.bool_)
    is_first[1:] = group[1:] != group[:-1]
    rank = index - np.maximum.accumulate(np.where(is_first, index, 0))
    return np.lexsort((-score, group))[rank < top_k]


def _check_limits(top_k: int, max_answer_tokens: int) -> None:
    check_positive("top_k", top_k)
    check_positive("max_answer_tokens", max_answer_tokens)
