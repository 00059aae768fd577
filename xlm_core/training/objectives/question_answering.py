"""Objectives of the two heads for question answering.

Letters: B sequences, T packed tokens, L padded length, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from xlm_core.heads import QuestionAnsweringHead
from xlm_core.precision import upcast
from xlm_core.training.objectives.objective import Objective, Scores, TrainingBatch, pack

if TYPE_CHECKING:
    from torch import Tensor

    from xlm_core.heads import QuestionAnsweringSimpleHead
    from xlm_core.training.examples import Examples


class QuestionAnswering(Objective):
    """Predicts the first and the last token of the answer.

    A row without an answer has its class token as both: the first token for the simple head. For the beam head it is
    the last one, and the head learns to tell such rows from others.

    Args:
        head: one of the two heads.
    """

    def __init__(self, head: QuestionAnsweringHead | QuestionAnsweringSimpleHead):
        self._head = head

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Targets: int64 [N, 2], positions of the first and the last token; -1 without an answer."""
        assert examples.targets is not None
        return pack(examples, examples.targets.astype(np.int64), len(examples))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        cu_seqlens = batch.packed.cu_seqlens
        start_B, end_B = batch.targets.unbind(1)
        is_impossible = start_B < 0
        if isinstance(self._head, QuestionAnsweringHead):
            last_B = cu_seqlens.long().diff() - 1
            start_B, end_B = (torch.where(is_impossible, last_B, position) for position in (start_B, end_B))
            return Scores(
                self._head.loss(
                    hidden_TD, cu_seqlens, start_B, end_B, cls_index=last_B, is_impossible=is_impossible.float()
                ),
                None,
            )
        sequences = upcast(self._head.forward_packed(hidden_TD, cu_seqlens)).split(batch.packed.lengths.tolist())
        logits_BL2 = torch.nn.utils.rnn.pad_sequence(list(sequences), True, -torch.inf)
        start_B, end_B = start_B.clamp(min=0), end_B.clamp(min=0)
        loss = F.cross_entropy(logits_BL2[..., 0], start_B) + F.cross_entropy(logits_BL2[..., 1], end_B)
        best = logits_BL2.detach().argmax(1)
        return Scores(loss / 2, ((best[:, 0] == start_B) & (best[:, 1] == end_B)).sum())
