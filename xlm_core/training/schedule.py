"""The learning rate of each step."""

from dataclasses import dataclass
from typing import Literal

Decay = Literal["linear", "inverse-sqrt", "constant"]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then decay.

    Attributes:
        peak: the learning rate at the end of the warm-up.
        warmup_steps: steps until then.
        total_steps: steps of the training; with linear decay, the rate is 0 after them.
        decay: `linear` to 0; `inverse-sqrt`: by the square root of the step (Vaswani et al. 2017, section 5.3), as in
            the paper; or `constant`.
    """

    peak: float
    warmup_steps: int
    total_steps: int
    decay: Decay

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.decay == "linear":
            return self.peak * max(0, self.total_steps - step) / max(1, self.total_steps - self.warmup_steps)
        if self.decay == "inverse-sqrt":
            return self.peak * (max(1, self.warmup_steps) / (step + 1)) ** 0.5
        return self.peak
