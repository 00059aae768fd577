"""The optimizer, and the moving average of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor


def build_optimizer(
    model: nn.Module, weight_decay: float, betas: tuple[float, float], epsilon: float
) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov & Hutter 2019). Biases and layer norms are not decayed."""
    named = list(trainable_parameters(model))
    groups = [
        {"params": [p for _, p in named if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for _, p in named if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], betas=betas, eps=epsilon, fused=True)


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the names and values of all parameters that are trained; tied ones once."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


class WeightAverage:
    """An exponential moving average of weights (Polyak & Juditsky 1992).

    Args:
        parameters: the weights, whose average starts with their current values.
        decay: the share of the average that each update keeps. Early updates keep less, so that the first values are
            soon forgotten.
    """

    def __init__(self, parameters: Iterable[tuple[str, Tensor]], decay: float):
        self.decay = decay
        self._parameters = dict(parameters)
        self.values = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the current weights after a step, from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights with their average; a second call restores them."""
        for name, parameter in self._parameters.items():
            current = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(current)
