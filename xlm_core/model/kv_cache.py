"""Key/value cache: a causal model extends a text by running only its new tokens.

Letters: B sequences, T packed tokens, S slots, Q tokens of each sequence in a decode pass, N heads, H head width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from xlm_core.checkpoint import XLMConfig
from xlm_core.model.attention import AttentionPlan
from xlm_core.model.packing import PackedBatch

Slots = tuple[Tensor, Tensor]
"""The sequence and the position of each token, int64 [T] each: the first two indices of a layer's cache tensor."""


class KeyValueCache:
    """The keys and values of each layer for a batch of sequences.

    The slot of a token is its position, and each pass overwrites the slots of its tokens. A token that is only run to
    get a prediction (XLM's mask token) is therefore overwritten by the next real token at its position.

    All slots are allocated at the start: a batch that fits on the device at the start fits until the end.
    """

    def __init__(
        self, config: XLMConfig, num_sequences: int, num_slots: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Allocate `num_slots` slots for each sequence."""
        # zeros, because an unused slot gets weight 0, and 0 times uninitialized memory may be NaN
        shape = (num_sequences, num_slots, 2, config.n_heads, config.head_dim)
        self._layers_BS2NH = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]

    def plan_prefill(self, batch: PackedBatch, plan: AttentionPlan) -> AttentionPlan:
        """Wrap `plan` for the first pass, over whole prompts, so that it also fills the cache."""
        return _PrefillPlan(plan, iter(self._layers_BS2NH), _slots(batch))

    def plan_decode(self, batch: PackedBatch) -> AttentionPlan:
        """Plan a pass over Q further tokens of each sequence, which attend to the slots up to their own position."""
        positions_BQ = batch.positions.unflatten(0, (len(batch.lengths), -1))
        slot_S = torch.arange(batch.metadata.positions_range[1] + 1, device=batch.positions.device)
        return _DecodePlan(iter(self._layers_BS2NH), _slots(batch), slot_S <= positions_BQ[:, None, :, None])

    def keep_sequences(self, index: NDArray[np.int64]) -> None:
        """Keep only the sequences that `index` selects."""
        for i, layer_BS2NH in enumerate(self._layers_BS2NH):  # layer by layer, so that memory never holds two caches
            self._layers_BS2NH[i] = layer_BS2NH[torch.from_numpy(index).to(layer_BS2NH.device)]


def _slots(batch: PackedBatch) -> Slots:
    sequence_T = torch.from_numpy(np.repeat(np.arange(len(batch.lengths)), batch.lengths))
    return sequence_T.to(batch.positions.device), batch.positions.long()


@dataclass(frozen=True)
class _PrefillPlan:
    """Attention by another plan; each call of `attend` also writes the keys and values of the next layer."""

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
    """Attention of Q tokens of each sequence to its slots; each call of `attend` updates and reads the next layer."""

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
