"""Scores of labels for each row, and the labels that they select.

Letters: S sequences, N rows, C labels, K labels of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.heads import SequenceClassificationHead
    from xlm_core.inference.model import Pass
    from xlm_core.inference.task_checks import Problem


class ClassificationCollector(Collector["NDArray[np.float32]"]):
    """Collects scores: float32 [N, C]. Those of several windows are averaged, weighted by the number of tokens.

    The scores are probabilities; those of a regression are its values.
    """

    def __init__(self, sequences: Sequences, head: SequenceClassificationHead, problem: Problem):
        self._sequences, self._head, self.layers = sequences, head, (head.layer,)
        self._problem: Problem = problem
        self._scores_SC = np.empty((len(sequences.lengths), head.config.num_labels), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        scores_BC = self._head.forward_packed(step.state(self._head.layer), step.batch.cu_seqlens).float()
        temperature = self._head.config.score_temperature
        match self._problem:
            case "single-label":
                scores_BC = (scores_BC / temperature).softmax(-1)
            case "multi-label":
                scores_BC = (scores_BC / temperature).sigmoid()
            case "regression":
                pass
        return [Write(self._scores_SC, step.sequences, scores_BC)]

    def result(self) -> NDArray[np.float32]:
        """See `Collector`."""
        return self._sequences.mean_over_windows(self._scores_SC)


def rank_labels(scores_NC: NDArray[np.float32], top_k: int | None = None) -> NDArray[np.int64]:
    """Return the indices of the best labels of each row, int64 [N, K], best first; of equal ones, the first."""
    return np.argsort(-scores_NC, axis=1, kind="stable")[:, :top_k]
