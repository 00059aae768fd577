"""Scores of labels for each row, and the labels that they select.

Letters: S sequences, N rows, C labels, K labels of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from xlm_core.errors import FatalError
from xlm_core.inference.run import Collector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.checkpoint import XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.heads import SequenceClassificationHead
    from xlm_core.inference.model import Pass

Problem = Literal["single-label", "multi-label", "regression"]

# The values of `problem_type` in a head's config.json.
_PROBLEMS: dict[str, Problem] = {
    "single_label_classification": "single-label",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}


def trained_problem(head: XLMConfig) -> Problem | None:
    """Return what a head was trained for; None if its configuration does not name it. One output is a regression."""
    problem_type = head.problem_type or ("regression" if head.num_labels == 1 else None)
    return None if problem_type is None else _PROBLEMS[problem_type]


def check_classification(head: XLMConfig, problem: Problem) -> None:
    """Check that a head was trained for a problem and has one output for each label.

    Raises:
        FatalError: it was not, or does not.
    """
    trained = trained_problem(head)
    if trained not in (None, problem):
        problem_type = head.problem_type or "regression"
        raise FatalError(
            f"text-classification: the head was trained for {problem_type}, got problem {problem}; set problem to "
            f"{trained}"
        )
    width = head.num_labels if head.summary_use_proj and head.summary_proj_to_labels else head.emb_dim
    if width != head.num_labels:
        raise FatalError(
            f"text-classification: the head's output has width {width}, expected {head.num_labels}, one score for "
            "each label; correct summary_use_proj and summary_proj_to_labels in its config.json"
        )


class ClassificationCollector(Collector["NDArray[np.float32]"]):
    """Collects scores: float32 [N, C]. Those of several windows are averaged, weighted by the number of tokens.

    The scores are probabilities; those of a regression are its values.
    """

    def __init__(self, sequences: Sequences, head: SequenceClassificationHead, problem: Problem):
        self._sequences, self._head = sequences, head
        self._problem: Problem = problem
        self._scores_SC = np.empty((len(sequences.lengths), head.config.num_labels), np.float32)

    def add(self, step: Pass) -> None:
        """See `Collector`."""
        scores_BC = self._head.forward_packed(step.hidden_TD, step.batch.cu_seqlens).float()
        match self._problem:
            case "single-label":
                scores_BC = scores_BC.softmax(-1)
            case "multi-label":
                scores_BC = scores_BC.sigmoid()
            case "regression":
                pass
        self._scores_SC[step.sequences] = scores_BC.cpu().numpy()

    def result(self) -> NDArray[np.float32]:
        """See `Collector`."""
        return self._sequences.mean_over_windows(self._scores_SC)


def rank_labels(scores_NC: NDArray[np.float32], top_k: int | None = None) -> NDArray[np.int64]:
    """Return the indices of the best labels of each row, int64 [N, K], best first; of equal ones, the first."""
    return np.argsort(-scores_NC, axis=1, kind="stable")[:, :top_k]
