"""Sentence embeddings that find translations: each text is ranked against all others of the batch.

Letters: N pairs, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from xlm_core.heads import POOLINGS
from xlm_core.training.objectives.objective import Objective, Scores, TrainingBatch, count_correct, pack

if TYPE_CHECKING:
    from torch import Tensor

    from xlm_core.training.examples import Examples


class TranslationRanking(Objective):
    """Brings the embeddings of translations together: a softmax over the batch in both directions.

    The loss is that of Yang et al. 2019 (arXiv:1902.08564): the margin is subtracted from the cosine of each true pair.
    A text does not count as a wrong one if it, or the text that it translates, is equal to that of the true pair.

    Args:
        pooling: the name of a pooling.
        layer: the layer whose output is pooled; -1 for the last.
        temperature: by which cosines are divided.
        margin: by how much a translation must be closer than other texts.
    """

    sorts: ClassVar[bool] = False

    def __init__(self, pooling: str = "mean", layer: int = -1, temperature: float = 0.05, margin: float = 0.0):
        self._pool, self.layer = POOLINGS[pooling], layer
        self._temperature, self._margin = temperature, margin

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Each row has two sequences; targets: int64 [N, 2], numbers that equal texts share."""
        sequences = examples.sequences
        parts = np.split(sequences.input_ids, sequences.cu_seqlens[1:-1])
        numbers: dict[bytes, int] = {}
        same = np.array([numbers.setdefault(part.tobytes(), len(numbers)) for part in parts], np.int64)
        return pack(examples, same.reshape(-1, 2), len(examples))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`; the mean of both directions counts as correct."""
        vectors = F.normalize(self._pool(hidden_TD, batch.packed.cu_seqlens), dim=-1)
        first_ND, second_ND = vectors[::2], vectors[1::2]
        same_first, same_second = batch.targets.unbind(1)
        pairs = torch.arange(len(first_ND), device=vectors.device)
        is_pair = pairs[:, None] == pairs
        is_equal = (same_first[:, None] == same_first) | (same_second[:, None] == same_second)
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 rounds cosines to 1/256
            cosines_NN = first_ND @ second_ND.T - self._margin * is_pair
        forward = (cosines_NN / self._temperature).masked_fill(is_equal & ~is_pair, -torch.inf)
        backward = forward.T
        loss = (F.cross_entropy(forward, pairs) + F.cross_entropy(backward, pairs)) / 2
        num_correct = (count_correct(forward, pairs) + count_correct(backward, pairs)) / 2
        return Scores(loss, num_correct)
