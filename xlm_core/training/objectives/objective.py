"""The interface of a training objective: from examples to a batch, and from hidden states to a loss.

Letters: B sequences, T packed tokens, D model width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch

from xlm_core.model import PackedBatch, to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xlm_core.heads import Pooling
    from xlm_core.model import Trunk
    from xlm_core.training.examples import Examples


@dataclass(frozen=True)
class TrainingBatch:
    """The examples of one forward and backward pass.

    Attributes:
        packed: their tokens.
        targets: what is predicted; its shape depends on the objective.
        num_targets: how many predictions the loss averages over.
        hidden: output of the trunk [T, D]; None if the trunk is yet to run.
    """

    packed: PackedBatch
    targets: Tensor
    num_targets: int
    hidden: Tensor | None = None

    def to(self, device: torch.device) -> TrainingBatch:
        """Return a copy on a device."""
        hidden = None if self.hidden is None else to_device(self.hidden, device)
        targets = to_device(self.targets, device)
        return replace(self, packed=self.packed.to(device), targets=targets, hidden=hidden)


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
        pool: how the head turns a sequence into one vector; None if it reads the vectors of tokens.
    """

    sorts: ClassVar[bool] = True
    layer: int = -1
    pool: Pooling | None = None

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

    def mark_kept_tokens(self, examples: Examples) -> NDArray[np.bool_]:
        """Mark the tokens that keep a vector if the trunk is frozen: bool [T], at least one of each sequence.

        Of a sequence that the head pools, the first token keeps the pooled vector.
        """
        sequences = examples.sequences
        is_kept = np.full(len(sequences.input_ids), self.pool is None)
        is_kept[sequences.cu_seqlens[:-1]] = True
        return is_kept

    def run(self, trunk: Trunk, batch: TrainingBatch) -> Scores:
        """Run the trunk on a batch, unless its output has been kept, and compute the loss."""
        return self.score(self.run_trunk(trunk, batch) if batch.hidden is None else batch.hidden, batch)

    def run_trunk(self, trunk: Trunk, batch: TrainingBatch) -> Tensor:
        """Compute what is scored, [T, D]."""
        is_trained = any(parameter.requires_grad for parameter in trunk.parameters())
        with torch.set_grad_enabled(is_trained and torch.is_grad_enabled()):
            return trunk.forward_packed(batch.packed, num_layers=self.layer % (len(trunk.layers) + 1))


def pack(examples: Examples, targets: NDArray[Any], num_targets: int) -> TrainingBatch:
    """Pack the sequences of examples, with the output of a frozen trunk if it has been kept."""
    sequences, states = examples.sequences, examples.states
    packed = PackedBatch.from_ragged(sequences.input_ids, sequences.cu_seqlens, sequences.langs)
    hidden = None if states is None else torch.from_numpy(states.read(np.diff(examples.token_offsets)))
    return TrainingBatch(packed, torch.from_numpy(targets), num_targets, hidden)


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Count the rows of logits [N, C] whose largest value is at the target [N]."""
    return (logits.detach().argmax(-1) == targets).sum()
