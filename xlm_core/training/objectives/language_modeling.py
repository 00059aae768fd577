"""The objectives of the paper: masked, causal and translation language modeling (Lample & Conneau 2019, section 3).

Letters: T packed tokens, D model width, N predicted tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xlm_core.heads import NO_LABEL
from xlm_core.model import PackedBatch
from xlm_core.ragged import concatenated_ranges, cumulative_lengths
from xlm_core.training.examples import Examples
from xlm_core.training.objectives.objective import Objective, Scores, TrainingBatch, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xlm_core.heads import LanguageModelHead
    from xlm_core.training.masking import Masking


class MaskedLanguageModeling(Objective):
    """Predicts masked tokens.

    Args:
        head: scores words.
        masking: which tokens are predicted, and what the model sees instead.
    """

    def __init__(self, head: LanguageModelHead, masking: Masking):
        self._head = head
        self._masking = masking

    def prepare(self, examples: Examples, rng: np.random.Generator) -> Examples:
        """See `Objective`: masks tokens."""
        seen, targets = self._masking.apply(examples.sequences.input_ids, rng)
        return Examples(replace(examples.sequences, input_ids=seen), targets, per_token=True)

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`."""
        assert examples.targets is not None
        return pack(examples, examples.targets, _count(examples.targets))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        return Scores(self._head.loss(hidden_TD, batch.targets), None)


class TranslationLanguageModeling(MaskedLanguageModeling):
    """Predicts masked tokens of a text and its translation in one sequence.

    The sequence is `<s> A </s> B </s>`. Positions start again at 0 with B, and each text has its own language.
    """

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Each row has two sequences, `<s> A </s>` and `<s> B </s>`."""
        assert examples.targets is not None
        sequences = examples.sequences
        starts_second = sequences.cu_seqlens[:-1][1::2]  # special tokens, which are never masked
        lengths = sequences.lengths.astype(np.int64)
        lengths[1::2] -= 1
        packed = PackedBatch(
            input_ids=torch.from_numpy(np.delete(sequences.input_ids, starts_second)),
            positions=torch.from_numpy(concatenated_ranges(lengths)),
            cu_seqlens=torch.from_numpy(cumulative_lengths(lengths.reshape(-1, 2).sum(axis=1))),
            langs=torch.from_numpy(np.repeat(sequences.langs.astype(np.int64), lengths)),
        )
        targets = np.delete(examples.targets, starts_second)
        return TrainingBatch(packed, torch.from_numpy(targets), _count(targets))


class CausalLanguageModeling(Objective):
    """Predicts each token from those before it. The trunk must be causal.

    Args:
        head: scores words.
    """

    def __init__(self, head: LanguageModelHead):
        self._head = head

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`."""
        sequences = examples.sequences
        targets = np.roll(sequences.input_ids.astype(np.int64), -1)
        targets[sequences.cu_seqlens[1:] - 1] = NO_LABEL
        return pack(examples, targets, _count(targets))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        return Scores(self._head.loss(hidden_TD, batch.targets), None)


def _count(targets: NDArray[np.int64]) -> int:
    return int((targets != NO_LABEL).sum())
