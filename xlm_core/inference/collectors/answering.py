"""The best spans of each row's context as answers to its question.

Letters: T tokens, S sequences, N rows, K spans that the beam search returns for a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.decoding import (
    attach_marks,
    beam_candidates,
    find_class_tokens,
    is_in_text,
    merge_answers,
    no_answer_scores,
    simple_candidates,
)
from xlm_core.heads import QuestionAnsweringHead
from xlm_core.inference.run import Collector
from xlm_core.model import Write, to_device
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding import Candidates, Sequences
    from xlm_core.heads import QuestionAnsweringSimpleHead
    from xlm_core.inference.model import Pass


class FoundAnswers(NamedTuple):
    """Answers by row, best first, and the score of having none.

    Attributes:
        row: int64 [A], in ascending order.
        start, end: int64 [A], characters of the row's context, end exclusive.
        score: float32 [A].
        no_answer: float32 [N].
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    score: NDArray[np.float32]
    no_answer: NDArray[np.float32]


def answer_collector(
    sequences: Sequences,
    head: QuestionAnsweringHead | QuestionAnsweringSimpleHead,
    contexts: Sequence[str | Sequence[str]],
    *,
    cls_token_id: int,
    top_k: int,
    max_answer_tokens: int,
) -> Collector[FoundAnswers]:
    """Return the collector for a head: one that searches spans with beams, or scores starts and ends independently.

    Args:
        sequences: pairs of question and context, with word ids and offsets.
        head: the head.
        contexts: the context of each row, or its words.
        cls_token_id: the class token, whose score is that of having no answer.
        top_k: maximum number of answers for each row.
        max_answer_tokens: maximum number of tokens in an answer.
    """
    limits = (cls_token_id, top_k, max_answer_tokens)
    if isinstance(head, QuestionAnsweringHead):
        return _BeamCollector(sequences, head, contexts, *limits)
    return _SimpleCollector(sequences, head, contexts, *limits)


class _AnswerCollector(Collector[FoundAnswers]):
    """The common part of both collectors. Only tokens of the context can be answers."""

    def __init__(
        self,
        sequences: Sequences,
        contexts: Sequence[str | Sequence[str]],
        cls_token_id: int,
        top_k: int,
        max_answer_tokens: int,
    ):
        self._sequences, self._contexts = sequences, contexts
        self._top_k, self._max_answer_tokens = top_k, max_answer_tokens
        self._allowed_T = is_in_text(sequences.word_ids, sequences.cu_seqlens, "last")
        self._cls_tokens_S = find_class_tokens(sequences.input_ids, sequences.cu_seqlens, cls_token_id)

    def _merge(self, candidates: Candidates, no_answer_S: NDArray[np.float64]) -> FoundAnswers:
        sequences = self._sequences
        contexts = [context if isinstance(context, str) else " ".join(context) for context in self._contexts]
        tokens = np.flatnonzero(self._allowed_T)
        offsets = attach_marks(sequences.offsets, tokens, sequences.row_of_token[tokens], contexts)
        answers = merge_answers(candidates, sequences.row_ids, offsets, self._top_k)
        no_answer = no_answer_scores(no_answer_S, sequences.row_ids, sequences.num_rows)
        score = answers.score.astype(np.float32)
        return FoundAnswers(answers.row, answers.start, answers.end, score, no_answer.astype(np.float32))


class _SimpleCollector(_AnswerCollector):
    def __init__(
        self,
        sequences: Sequences,
        head: QuestionAnsweringSimpleHead,
        contexts: Sequence[str | Sequence[str]],
        cls_token_id: int,
        top_k: int,
        max_answer_tokens: int,
    ):
        super().__init__(sequences, contexts, cls_token_id, top_k, max_answer_tokens)
        self._head = head
        self._logits_T2 = np.empty((len(sequences.input_ids), 2), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        logits_T2 = self._head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        return [Write(self._logits_T2, step.tokens, logits_T2.float())]

    def result(self) -> FoundAnswers:
        start_T, end_T = np.ascontiguousarray(self._logits_T2.T)
        return self._merge(
            *simple_candidates(
                start_T,
                end_T,
                self._sequences.cu_seqlens,
                self._cls_tokens_S,
                self._allowed_T,
                self._top_k,
                self._max_answer_tokens,
            )
        )


class _BeamCollector(_AnswerCollector):
    """Collects the spans of a beam search, and the class token's score, which is that of having no answer.

    As in training, the search includes the class token.
    """

    def __init__(
        self,
        sequences: Sequences,
        head: QuestionAnsweringHead,
        contexts: Sequence[str | Sequence[str]],
        cls_token_id: int,
        top_k: int,
        max_answer_tokens: int,
    ):
        super().__init__(sequences, contexts, cls_token_id, top_k, max_answer_tokens)
        self._head = head
        num_starts, num_ends = head.config.start_n_top, head.config.end_n_top
        num_sequences = len(sequences.lengths)
        self._start_log_probs = np.zeros((num_sequences, num_starts), np.float32)
        self._start_index = np.full((num_sequences, num_starts), -1)
        self._end_log_probs = np.zeros((num_sequences, num_ends * num_starts), np.float32)
        self._end_index = np.full((num_sequences, num_ends * num_starts), -1)
        self._no_answer_S = np.zeros(num_sequences)

    def compute(self, step: Pass) -> list[Write]:
        sequences, chosen = self._sequences, step.sequences
        searched_T = self._allowed_T[step.tokens]
        cls_index = (self._cls_tokens_S - sequences.cu_seqlens[:-1])[chosen]
        searched_T[cumulative_lengths(sequences.lengths[chosen])[:-1] + cls_index] = True
        device = step.hidden_TD.device
        beams = self._head.forward_packed(
            step.hidden_TD,
            step.batch.cu_seqlens,
            allowed_T=to_device(searched_T, device),
            cls_index=to_device(cls_index, device),
            max_answer_tokens=self._max_answer_tokens,
            max_seqlen=step.batch.max_seqlen,
        )
        return [
            Write(self._start_log_probs, chosen, beams.start_top_log_probs.float()),
            Write(self._start_index, chosen, beams.start_top_index),
            Write(self._end_log_probs, chosen, beams.end_top_log_probs.float()),
            Write(self._end_index, chosen, beams.end_top_index),
            Write(self._no_answer_S, chosen, beams.cls_logits.double().sigmoid()),
        ]

    def result(self) -> FoundAnswers:
        candidates = beam_candidates(
            self._start_log_probs,
            self._start_index,
            self._end_log_probs,
            self._end_index,
            self._allowed_T,
            self._sequences.cu_seqlens,
            self._top_k,
            self._max_answer_tokens,
        )
        has_no_token = np.add.reduceat(self._allowed_T, self._sequences.cu_seqlens[:-1]) == 0
        return self._merge(candidates, np.where(has_no_token, 1.0, self._no_answer_S))
