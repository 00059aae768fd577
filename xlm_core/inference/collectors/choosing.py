"""The best of each row's choices.

Letters: S sequences, one for each choice of a row, N rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.heads import MultipleChoiceHead
    from xlm_core.inference.model import Pass


class Choices(NamedTuple):
    """The choices of N rows.

    Attributes:
        best: int64 [N], the best choice of each row, from 0.
        scores: float32 [S], the probability of each choice among those of its row.
    """

    best: NDArray[np.int64]
    scores: NDArray[np.float32]


class ChoiceCollector(Collector[Choices]):
    """Collects logits. The scores of a row are their softmax over its choices."""

    def __init__(self, sequences: Sequences, head: MultipleChoiceHead):
        self._sequences, self._head = sequences, head
        self._logits_S = np.empty(len(sequences.lengths), np.float64)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        logits_B = self._head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        return [Write(self._logits_S, step.sequences, logits_B.double() / self._head.config.score_temperature)]

    def result(self) -> Choices:
        """See `Collector`."""
        logits, first, rows = self._logits_S, self._sequences.row_offsets[:-1], self._sequences.row_ids
        exps = np.exp(logits - np.maximum.reduceat(logits, first)[rows])
        scores = exps / np.add.reduceat(exps, first)[rows]
        # sorted by row, then by score: the first of a row is its best, and of equal ones the earliest choice
        best = np.lexsort((-logits, rows))[first] - first
        return Choices(best, scores.astype(np.float32))
