"""Whether scores are probabilities: the expected calibration error (Guo et al. 2017) and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_BINS = 15


class Reliability(NamedTuple):
    """Scores in bins of equal width from 0 to 1.

    Attributes:
        counts: int64 [bins], number of scores in each bin.
        confidence: float64 [bins], their mean; NaN in empty bins.
        accuracy: float64 [bins], the share of them that is right; NaN in empty bins.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean of |accuracy - confidence|, weighted by the counts."""
        if not self.counts.sum():
            return np.nan
        gaps = np.abs(self.accuracy - self.confidence)
        return float((gaps * self.counts)[self.counts > 0].sum() / self.counts.sum())


def measure_reliability(score: NDArray[np.floating], is_right: NDArray[np.bool_]) -> Reliability:
    """Sort scores into bins; a score on a border belongs to the lower bin.

    Args:
        score: [n], from 0 to 1.
        is_right: bool [n], whether what was scored is right.
    """
    score = score.astype(np.float64)
    bins = np.clip(np.ceil(score * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    count = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, score, NUM_BINS) / count
        accuracy = np.bincount(bins, is_right, NUM_BINS) / count
    return Reliability(count, confidence, accuracy)
