"""The likelihood of each row's text under a language model.

Letters: T tokens, N rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.generation import perplexity, score_causal, score_masked, sum_scores
from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.heads import LanguageModelHead
    from xlm_core.inference.model import Model, Pass


class TextScores(NamedTuple):
    """The scores of N rows.

    Attributes:
        num_tokens: int64 [N], the tokens that were scored.
        log_likelihood: float64 [N], natural logarithm.
        perplexity: float64 [N]; NaN without a scored token.
    """

    num_tokens: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]
    perplexity: NDArray[np.float64]


class ScoreCollector(Collector[TextScores]):
    """Collects log-probabilities of tokens. A token in two windows counts in the one with more context.

    For a causal model it reads the shared passes; for a masked one it runs the trunk, with one token masked at a time.

    Args:
        sequences: of all rows, with word ids.
        model: the model.
        head: the head.
    """

    def __init__(self, sequences: Sequences, model: Model, head: LanguageModelHead):
        self._sequences, self._model, self._head = sequences, model, head
        self.reads_pass = model.trunk.config.causal
        self._is_scored = sequences.mark_text_tokens(causal=self.reads_pass)
        self._scores = np.full(len(sequences.input_ids), np.nan, np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        scores = score_causal(self._head, step.hidden_TD, step.batch.input_ids, step.batch.cu_seqlens)
        return [Write(self._scores, step.tokens, scores.float())]

    def result(self) -> TextScores:
        """See `Collector`."""
        sequences = self._sequences
        scores = self._scores if self.reads_pass else self._score_masked()
        sums, counts = sum_scores(scores, self._is_scored, sequences.cu_seqlens[sequences.row_offsets])
        return TextScores(counts, sums, perplexity(sums, counts))

    def _score_masked(self) -> NDArray[np.float32]:
        return score_masked(
            self._model.trunk,
            self._head,
            self._sequences.input_ids,
            self._sequences.cu_seqlens,
            self._sequences.langs,
            self._is_scored,
            self._model.tokenizer.mask_token_id,
            self._model.own_pass_tokens,
            self.on_progress,
        )
