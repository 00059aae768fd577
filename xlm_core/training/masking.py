"""Masked language modeling: which tokens are predicted, and what the model sees in their place.

Letters: T tokens, V words of the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.heads import NO_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Masking:
    """How tokens are masked (Lample & Conneau 2019, sections 3.3 and 4.1).

    Attributes:
        mask_id: the token that replaces most of the predicted tokens.
        plain_ids: int64, the tokens that may replace others: all but the special ones.
        weights: float64 [V], how often each token is predicted, relative to others; 0 for special tokens.
        share: of the tokens that are predicted.
        masked, random: shares of the predicted tokens that are replaced by the mask and by a random token; the others
            are left as they are.
    """

    mask_id: int
    plain_ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    share: float = 0.15
    masked: float = 0.8
    random: float = 0.1

    @classmethod
    def from_counts(
        cls, counts: NDArray[np.int64], special_ids: Sequence[int], mask_id: int, share: float, exponent: float
    ) -> Masking:
        """Weight tokens by their counts [V] to the power of -`exponent`; 0.5 in the paper, 0 for equal weights."""
        weights = np.maximum(counts, 1).astype(np.float64) ** -exponent
        weights[list(special_ids)] = 0.0
        return cls(mask_id, np.flatnonzero(weights), weights, share)

    def apply(
        self, input_ids: NDArray[np.int32], rng: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Mask tokens.

        Args:
            input_ids: int32 [T].
            rng: decides everything that is random.

        Returns:
            The tokens that the model sees, int32 [T]; and those that it predicts, int64 [T], -100 elsewhere.
        """
        weights = self.weights[input_ids]
        candidates = np.flatnonzero(weights)
        num_predicted = min(math.ceil(self.share * len(input_ids)), len(candidates))
        # The smallest of these keys are a weighted sample without replacement (Efraimidis & Spirakis 2006).
        keys = rng.exponential(size=len(candidates)) / weights[candidates]
        chosen = np.sort(candidates[np.argpartition(keys, num_predicted - 1)[:num_predicted]]) if num_predicted else []
        chosen = np.asarray(chosen, np.int64)
        targets = np.full(len(input_ids), NO_LABEL, np.int64)
        targets[chosen] = input_ids[chosen]
        seen = input_ids.copy()
        kind = rng.random(len(chosen))
        seen[chosen[kind < self.masked]] = self.mask_id
        is_random = (kind >= self.masked) & (kind < self.masked + self.random)
        seen[chosen[is_random]] = rng.choice(self.plain_ids, int(is_random.sum()))
        return seen, targets
