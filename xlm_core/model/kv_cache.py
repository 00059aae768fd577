"""Keys and values of earlier passes, so that a causal model goes on with a text by its new tokens alone.

Letters: B sequences, T packed tokens, S slots, Q tokens of each sequence in a pass, N heads, H head width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.model.attention import AttentionPlan
from xlm_core.model.packing import PackedBatch

Slots = tuple[Tensor, Tensor]
"""The sequence and the position of each token, int64 [T] each: the first two indices of a layer's tensor."""


class KeyValueCache:
    """Each layer's keys and values of a batch of sequences.

    A token's slot is its position, and a pass overwrites the slots it comes to. So a token that is fed only to ask
    for a prediction (XLM's mask token) is forgotten as soon as the next real token takes its position.

    All slots are there from the start: a batch that fits the device when it begins fits it to the end.
    """

    def __init__(
        self, config: XLMConfig, num_sequences: int, num_slots: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Make room for `num_slots` tokens of each sequence."""
        # zeros, since a slot without a token gets the weight 0, and 0 times what lay in memory may be NaN
        shape = (num_sequences, num_slots, 2, config.n_heads, config.head_dim)
        self._layers_BS2NH = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]

    def plan_prefill(self, batch: PackedBatch, plan: AttentionPlan) -> AttentionPlan:
        """Plan the pass of whole prompts, which attend among themselves by `plan` and leave their keys here."""
        return _PrefillPlan(plan, iter(self._layers_BS2NH), _slots(batch))

    def plan_decode(self, batch: PackedBatch) -> AttentionPlan:
        """Plan a pass of Q further tokens of each sequence, which see what is kept of it up to their own position."""
        positions_BQ = batch.positions.unflatten(0, (len(batch.lengths), -1))
        slot_S = torch.arange(batch.metadata.positions[1] + 1, device=batch.positions.device)
        return _DecodePlan(iter(self._layers_BS2NH), _slots(batch), slot_S <= positions_BQ[:, None, :, None])

    def keep_sequences(self, index: NDArray[np.int64]) -> None:
        """Keep the sequences of these numbers and forget the others."""
        for i, layer_BS2NH in enumerate(self._layers_BS2NH):  # one at a time, so that no second cache ever lies beside
            self._layers_BS2NH[i] = layer_BS2NH[torch.from_numpy(index).to(layer_BS2NH.device)]


def _slots(batch: PackedBatch) -> Slots:
    sequence_T = torch.from_numpy(np.repeat(np.arange(len(batch.lengths)), batch.lengths))
    return sequence_T.to(batch.positions.device), batch.positions.long()


@dataclass(frozen=True)
class _PrefillPlan:
    """Another plan's attention; each call writes the next layer's keys and values."""

    plan: AttentionPlan
    layers: Iterator[Tensor]
    slots: Slots

    def to_plan_order(self, packed: Tensor) -> Tensor:
        return self.plan.to_plan_order(packed)

    def to_batch_order(self, packed: Tensor) -> Tensor:
        return self.plan.to_batch_order(packed)

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        next(self.layers)[self.slots] = self.plan.to_batch_order(qkv_T3NH[:, 1:])
        return self.plan.attend(qkv_T3NH)


@dataclass(frozen=True)
class _DecodePlan:
    """Attention of Q tokens of each sequence to its slots; each call writes and reads the next layer's."""

    layers: Iterator[Tensor]
    slots: Slots
    visible: Tensor  # bool [B, 1, Q, S]

    def to_plan_order(self, packed: Tensor) -> Tensor:
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        layer_BS2NH = next(self.layers)
        layer_BS2NH[self.slots] = qkv_T3NH[:, 1:]
        num_sequences, _, num_queries, num_slots = self.visible.shape
        q_BNQH = qkv_T3NH[:, 0].unflatten(0, (num_sequences, num_queries)).transpose(1, 2)
        k_BNSH, v_BNSH = layer_BS2NH[:, :num_slots].permute(2, 0, 3, 1, 4).unbind(0)
        context_BNQH = F.scaled_dot_product_attention(q_BNQH, k_BNSH, v_BNSH, attn_mask=self.visible)
        return context_BNQH.transpose(1, 2).flatten(0, 1)
