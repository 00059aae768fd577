"""Attention over packed sequences, with the kernel chosen once for a device, a precision and a mode.

Letters: B sequences, T packed tokens, N heads, H head width, L length of the sequences of one group, or padded length.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xlm_core.model.packing import PackedBatch, cumulative_lengths, take_ragged
from xlm_core.model.padding import PaddedLayout
from xlm_core.precision import upcast


class AttentionPlan(Protocol):
    """What one batch's attention needs to know, worked out once and used by every layer.

    A plan may want the tokens in another order than the batch has them: `to_plan_order` puts them there before the
    first layer and `to_batch_order` back after the last.
    """

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Put [T, …] from the batch's order into the plan's."""
        ...

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Put [T, …] from the plan's order back into the batch's."""
        ...

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """Attend within each sequence, softmax of q·k / sqrt(H): [T, 3, N, H] to [T, N, H]."""
        ...


AttentionPlanner = Callable[[PackedBatch, bool, float], AttentionPlan]
"""Makes the plan of a batch from (batch, whether a token sees only those before it, dropout of the weights)."""


@dataclass(frozen=True)
class VarlenPlan:
    """One kernel call a layer, over all sequences at once; CUDA in half precision only."""

    cu_seqlens: Tensor
    max_seqlen: int
    window: tuple[int, int]  # how far a token sees to the left and to the right; -1 without end

    @classmethod
    def from_batch(cls, batch: PackedBatch, causal: bool, dropout: float) -> Self:
        """Plan a batch; the kernel has no dropout, and `choose_attention` takes another where it is wanted."""
        assert dropout == 0.0
        return cls(batch.cu_seqlens, batch.max_seqlen, (-1, 0) if causal else (-1, -1))

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Change nothing."""
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Change nothing."""
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        from torch.nn.attention.varlen import varlen_attn  # loads torch's compiler, a second that only GPUs owe

        q_TNH, k_TNH, v_TNH = qkv_T3NH.unbind(1)
        context_TNH = varlen_attn(
            q_TNH,
            k_TNH,
            v_TNH,
            self.cu_seqlens,
            self.cu_seqlens,
            self.max_seqlen,
            self.max_seqlen,
            window_size=self.window,
        )
        assert isinstance(context_TNH, Tensor)
        return context_TNH


@dataclass(frozen=True)
class GroupedPlan:
    """Scaled-dot-product attention over sequences of equal length; no pads and no masks, on any device.

    Sequences of one length must lie side by side to be viewed as one [B, L] block. Batches of `plan_batches`
    do already; others are put in order once, before the first layer, rather than gathered in each.
    """

    groups: tuple[tuple[int, int, int], ...]  # (first token, sequences, tokens of each)
    order: Tensor | None  # int64 [T], the batch's number of each token in the plan's order; None: same order
    restore: Tensor | None  # int64 [T], the inverse
    causal: bool
    dropout: float

    @classmethod
    def from_batch(cls, batch: PackedBatch, causal: bool, dropout: float) -> Self:
        """Plan a batch on the host, from its lengths."""
        lengths = batch.lengths
        num_runs = 1 + int(np.count_nonzero(np.diff(lengths)))
        order: Tensor | None = None
        restore: Tensor | None = None
        if num_runs > len(np.unique(lengths)):  # some length stands in two places
            by_length = np.argsort(-lengths, kind="stable")
            tokens = np.arange(batch.num_tokens)
            there, _ = take_ragged(tokens, cumulative_lengths(lengths), by_length)
            back = np.empty_like(there)
            back[there] = tokens
            order = torch.from_numpy(there).to(batch.input_ids.device)
            restore = torch.from_numpy(back).to(batch.input_ids.device)
            lengths = lengths[by_length]
        bounds = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        starts = cumulative_lengths(lengths).tolist()
        groups = tuple((starts[first], last - first, int(lengths[first])) for first, last in pairwise(bounds))
        return cls(groups, order, restore, causal, dropout)

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        return packed if self.order is None else packed[self.order]

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        return packed if self.restore is None else packed[self.restore]

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        contexts: list[Tensor] = []
        for start, num_sequences, length in self.groups:
            block = qkv_T3NH[start : start + num_sequences * length]
            q_BNLH, k_BNLH, v_BNLH = block.unflatten(0, (num_sequences, length)).permute(2, 0, 3, 1, 4).unbind(0)
            context_BNLH = F.scaled_dot_product_attention(
                q_BNLH, k_BNLH, v_BNLH, dropout_p=self.dropout, is_causal=self.causal
            )
            contexts.append(context_BNLH.transpose(1, 2).flatten(0, 1))
        return torch.cat(contexts)


@dataclass(frozen=True)
class ExplicitPlan:
    """Attention written out over padded tensors, which keeps every layer's probabilities.

    The kernels never hold them, so this is the plan of a call that asks for them, and of no other: it takes
    memory for [B, N, L, L] a layer.
    """

    layout: PaddedLayout
    seen: Tensor  # bool [B, 1, L, L], whether the token of a row sees that of a column; neither is ever a pad
    dropout: float
    probabilities: list[Tensor] = field(default_factory=list[Tensor])  # [B, N, L, L] of each layer run so far

    @classmethod
    def from_layout(cls, layout: PaddedLayout, causal: bool, dropout: float) -> Self:
        """Plan the batch that a layout has packed."""
        keep_BL = layout.unpack(torch.ones_like(layout.index, dtype=torch.bool))
        seen_BLL = keep_BL[:, :, None] & keep_BL[:, None, :]
        return cls(layout, (seen_BLL.tril() if causal else seen_BLL)[:, None], dropout)

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Change nothing."""
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Change nothing."""
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`; the probabilities are kept as they are used, dropout included."""
        q_BNLH, k_BNLH, v_BNLH = self.layout.unpack(qkv_T3NH).permute(2, 0, 3, 1, 4).unbind(0)
        scores_BNLL = q_BNLH @ k_BNLH.transpose(-1, -2) / q_BNLH.shape[-1] ** 0.5
        weights_BNLL = upcast(scores_BNLL).masked_fill(~self.seen, -torch.inf).softmax(-1)
        weights_BNLL = weights_BNLL.masked_fill(~self.seen, 0.0)  # a pad's row was NaN: it sees nothing
        weights_BNLL = F.dropout(weights_BNLL.to(qkv_T3NH.dtype), self.dropout)
        self.probabilities.append(weights_BNLL)
        return self.layout.pack((weights_BNLL @ v_BNLH).transpose(1, 2))


def choose_attention(
    device: torch.device, dtype: torch.dtype, head_dim: int, dropout: float, capability: tuple[int, int]
) -> AttentionPlanner:
    """Choose how the plan of a batch is made.

    Args:
        device: where the model lies.
        dtype: its precision.
        head_dim: width of one head; the flash kernels take multiples of 8 up to 256.
        dropout: of the attention weights, 0 outside training.
        capability: compute capability of the device, (0, 0) where there is none; flash kernels want 8.0.
    """
    flash = (
        device.type == "cuda"
        and torch.version.hip is None
        and dtype in (torch.float16, torch.bfloat16)
        and capability >= (8, 0)
        and head_dim % 8 == 0
        and head_dim <= 256
        and dropout == 0.0
    )
    return VarlenPlan.from_batch if flash else GroupedPlan.from_batch


def device_capability(device: torch.device) -> tuple[int, int]:
    """Give a GPU's compute capability, (0, 0) for any other device."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
