"""The interface of a training objective: from examples to a batch, and from hidden states to a loss.

Letters: B sequences, T packed tokens, D model width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch

from xlm_core.model import PackedBatch, to_device

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from xlm_core.model import Trunk
    from xlm_core.training.examples import Examples


@dataclass(frozen=True)
class TrainingBatch:
    """The examples of one forward and backward pass.

    Attributes:
        packed: their tokens.
        targets: what is predicted; its shape depends on the objective.
        num_targets: how many predictions the loss averages over.
    """

    packed: PackedBatch
    targets: Tensor
    num_targets: int

    def to(self, device: torch.device) -> TrainingBatch:
        """Return a copy on a device."""
        return replace(self, packed=self.packed.to(device), targets=to_device(self.targets, device))


class Scores(NamedTuple):
    """The loss of a batch.

    Attributes:
        loss: mean over the targets, a tensor of one number.
        num_correct: how many targets are predicted correctly; None if the objective does not predict one of several.
    """

    loss: Tensor
    num_correct: Tensor | None


class Objective(ABC):
    """What the trunk, and a head, are trained for.

    Attributes:
        sorts: whether sequences of similar length may share a batch: not if the other sequences of the batch matter.
        layer: the layer of the trunk whose output is scored; -1 for the last.
    """

    sorts: ClassVar[bool] = True
    layer: int = -1

    def prepare(self, examples: Examples, rng: np.random.Generator) -> Examples:
        """Decide what is random about the examples of a step, such as which tokens are masked.

        It is decided before the step is split into batches, so that it does not depend on the number of workers.
        """
        del rng
        return examples

    @abstractmethod
    def make_batch(self, examples: Examples) -> TrainingBatch:
        """Build the batch of some prepared examples."""

    @abstractmethod
    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """Compute the loss from the output of the trunk."""

    def run(self, trunk: Trunk, batch: TrainingBatch) -> Scores:
        """Run the trunk on a batch, and compute the loss."""
        is_trained = any(parameter.requires_grad for parameter in trunk.parameters())
        with torch.set_grad_enabled(is_trained and torch.is_grad_enabled()):
            if self.layer == -1:
                hidden_TD = trunk.forward_packed(batch.packed)
            else:
                hidden_TD = trunk.forward_packed(batch.packed, output_hidden_states=True)[1][self.layer]
        return self.score(hidden_TD, batch)


def pack(examples: Examples) -> PackedBatch:
    """Pack the sequences of examples."""
    sequences = examples.sequences
    return PackedBatch.from_ragged(sequences.input_ids, sequences.cu_seqlens, sequences.langs)


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Count the rows of logits [N, C] whose largest value is at the target [N]."""
    return (logits.detach().argmax(-1) == targets).sum()
