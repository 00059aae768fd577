"""Find the temperature at which the negative log-likelihood of the gold labels is smallest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.calibration.scores import Scored, ScoresAt

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_TOLERANCE = 1e-4  # of the logarithm of the temperature
_GOLDEN = (np.sqrt(5) - 1) / 2


def log_loss(scored: Scored) -> float:
    """Return the mean negative log-likelihood of what is right."""
    return float(-np.log(np.maximum(scored.gold.astype(np.float64), 1e-300)).mean())


def fit_temperature(scores_at: ScoresAt) -> float:
    """Return the best temperature within the limits, with four decimals, by a golden section search over its logarithm.

    The loss has one minimum: it is convex in the inverse of the temperature, except for averages over subwords and
    windows.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(scores_at(float(np.exp(log_temperature))))

    low, high = float(np.log(MIN_TEMPERATURE)), float(np.log(MAX_TEMPERATURE))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    while high - low > _TOLERANCE:
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - _GOLDEN * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + _GOLDEN * (high - low)
            right_loss = loss(right)
    return round(float(np.exp((low + high) / 2)), 4)


def is_at_limit(temperature: float) -> bool:
    """Return whether a fitted temperature is a limit, and the loss still falls beyond it."""
    return not MIN_TEMPERATURE * 1.001 < temperature < MAX_TEMPERATURE / 1.001
