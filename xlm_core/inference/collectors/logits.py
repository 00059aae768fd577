"""The logits of a head, as they are before the temperature and the softmax.

Letters: S sequences, T tokens, C scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlm_core.heads import TokenHead
from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.heads import ScoringHead
    from xlm_core.inference.model import Pass


class LogitCollector(Collector["NDArray[np.float32]"]):
    """Collects the logits of each sequence, float32 [S, C], or of each token, float32 [T, C].

    Args:
        sequences: of all rows.
        head: a head with one score for each of C labels.
        num_scores: C; None for a head with a single score, whose logits have no second dimension.
    """

    def __init__(self, sequences: Sequences, head: ScoringHead, num_scores: int | None):
        self._head, self._is_of_tokens, self.layers = head, isinstance(head, TokenHead), (head.layer,)
        length = len(sequences.input_ids) if self._is_of_tokens else len(sequences.lengths)
        self._logits = np.empty(length if num_scores is None else (length, num_scores), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        logits = self._head.forward_packed(step.state(self._head.layer), step.batch.cu_seqlens)
        return [Write(self._logits, step.tokens if self._is_of_tokens else step.sequences, logits.float())]

    def result(self) -> NDArray[np.float32]:
        """See `Collector`."""
        return self._logits
