"""Attention over packed sequences. The kernel is chosen once for a device, a precision and a mode.

Letters: B sequences, T packed tokens, N heads, H head width, L sequence length within a group, or padded length.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xlm_core.model.copies import to_device
from xlm_core.model.packing import PackedBatch
from xlm_core.model.padding import PaddedLayout
from xlm_core.precision import upcast
from xlm_core.ragged import cumulative_lengths, ragged_positions


class AttentionPlan(Protocol):
    """How attention is computed for one batch: planned once, then used by every layer.

    A plan may need the tokens in another order than the batch's, and more rows than tokens. The trunk calls
    `to_plan_order` before the first layer and `to_batch_order` after the last.
    """

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Reorder [T, …] from the batch's order to the plan's."""
        ...

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Reorder [T, …] from the plan's order to the batch's."""
        ...

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """Compute attention within each sequence, softmax of q·k / sqrt(H): [T, 3, N, H] to [T, N, H]."""
        ...


AttentionPlanner = Callable[[PackedBatch, bool, float], AttentionPlan]
"""Builds the plan of a batch from (batch, whether attention is causal, dropout of the attention weights)."""


@dataclass(frozen=True)
class VarlenPlan:
    """One flash attention call per layer for all sequences; CUDA in half precision only."""

    cu_seqlens: Tensor  # int32 [B + 1]; the kernel takes no other type
    max_seqlen: int
    window: tuple[int, int]  # number of tokens visible to the left and to the right; -1 for all

    @classmethod
    def from_batch(cls, batch: PackedBatch, causal: bool, dropout: float) -> Self:
        """Plan a batch. The kernel has no dropout, and `choose_attention` selects another plan where it is needed."""
        assert dropout == 0.0
        return cls(batch.cu_seqlens.int(), batch.max_seqlen, (-1, 0) if causal else (-1, -1))

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Return the tensor unchanged."""
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Return the tensor unchanged."""
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        # imported here because it loads torch's compiler, which takes a second and is only needed on GPUs
        from torch.nn.attention.varlen import varlen_attn

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
    """Scaled-dot-product attention over groups of sequences of equal length, without pads or masks, on any device.

    A group is viewed as one [B, L] block, so its sequences must be adjacent. Batches from `plan_batches` are already
    sorted by length; the tokens of other batches are reordered once, before the first layer, instead of in each layer.

    Outside training, a few rows are added at the end, which attend to nothing, so that batches have few different
    sizes. Otherwise oneDNN would build, and keep, kernels of 0.5 MB for each size, and memory that one batch frees
    would not fit the next.
    """

    groups: tuple[tuple[int, int, int], ...]  # (first token, number of sequences, tokens per sequence)
    num_tokens: int
    num_rows: int  # with those at the end
    order: Tensor | None  # int64 [T], index in the batch of each token in the plan's order; None: same order
    inverse_order: Tensor | None  # int64 [T]
    causal: bool
    dropout: float

    @classmethod
    def from_batch(cls, batch: PackedBatch, causal: bool, dropout: float) -> Self:
        """Plan a batch on the host, from its sequence lengths."""
        lengths = batch.lengths
        num_runs = 1 + int(np.count_nonzero(np.diff(lengths)))
        order: Tensor | None = None
        inverse_order: Tensor | None = None
        if num_runs > len(np.unique(lengths)):  # sequences of the same length are not adjacent
            by_length = np.argsort(-lengths, kind="stable")
            token_order = ragged_positions(cumulative_lengths(lengths), by_length)
            inverse = np.empty_like(token_order)
            inverse[token_order] = np.arange(batch.num_tokens)
            order = to_device(token_order, batch.input_ids.device)
            inverse_order = to_device(inverse, batch.input_ids.device)
            lengths = lengths[by_length]
        bounds = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        starts = cumulative_lengths(lengths).tolist()
        groups = tuple((starts[first], last - first, int(lengths[first])) for first, last in pairwise(bounds))
        num_tokens = batch.num_tokens
        num_rows = num_tokens if dropout or torch.is_grad_enabled() else round_up(num_tokens)
        return cls(groups, num_tokens, num_rows, order, inverse_order, causal, dropout)

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        ordered = packed if self.order is None else packed[self.order]
        if self.num_rows == self.num_tokens:
            return ordered
        return torch.cat([ordered, packed.new_zeros(self.num_rows - self.num_tokens, *packed.shape[1:])])

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        return packed[: self.num_tokens] if self.inverse_order is None else packed[self.inverse_order]

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`."""
        contexts: list[Tensor] = []
        sizes = [num_sequences * length for _, num_sequences, length in self.groups]
        # The gradient of a slice is as large as the whole tensor; that of all parts of a split is their concatenation.
        blocks = qkv_T3NH[: self.num_tokens].split(sizes)
        for block, (_, num_sequences, length) in zip(blocks, self.groups, strict=True):
            q_BNLH, k_BNLH, v_BNLH = block.unflatten(0, (num_sequences, length)).permute(2, 0, 3, 1, 4).unbind(0)
            context_BNLH = F.scaled_dot_product_attention(
                q_BNLH, k_BNLH, v_BNLH, dropout_p=self.dropout, is_causal=self.causal
            )
            contexts.append(context_BNLH.transpose(1, 2).flatten(0, 1))
        if self.num_rows > self.num_tokens:
            contexts.append(qkv_T3NH.new_zeros(self.num_rows - self.num_tokens, *qkv_T3NH.shape[2:]))
        return torch.cat(contexts)


@dataclass(frozen=True)
class ExplicitPlan:
    """Attention computed step by step over padded tensors; it keeps the attention probabilities of every layer.

    The kernels never materialize the probabilities, so this plan is used only for calls that request them. It needs
    memory for [B, N, L, L] per layer.
    """

    layout: PaddedLayout
    visible: Tensor  # bool [B, 1, L, L], whether the row's token attends to the column's; False at pads
    dropout: float
    probabilities: list[Tensor] = field(default_factory=list[Tensor])  # [B, N, L, L] of each layer run so far

    @classmethod
    def from_layout(cls, layout: PaddedLayout, causal: bool, dropout: float) -> Self:
        """Plan the batch that a layout has packed."""
        keep_BL = layout.unpack(torch.ones_like(layout.index, dtype=torch.bool))
        visible_BLL = keep_BL[:, :, None] & keep_BL[:, None, :]
        return cls(layout, (visible_BLL.tril() if causal else visible_BLL)[:, None], dropout)

    def to_plan_order(self, packed: Tensor) -> Tensor:
        """Return the tensor unchanged."""
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        """Return the tensor unchanged."""
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        """See `AttentionPlan`; stores the probabilities after dropout."""
        q_BNLH, k_BNLH, v_BNLH = self.layout.unpack(qkv_T3NH).permute(2, 0, 3, 1, 4).unbind(0)
        scores_BNLL = q_BNLH @ k_BNLH.transpose(-1, -2) / q_BNLH.shape[-1] ** 0.5
        weights_BNLL = upcast(scores_BNLL).masked_fill(~self.visible, -torch.inf).softmax(-1)
        weights_BNLL = weights_BNLL.masked_fill(~self.visible, 0.0)  # rows of pads are NaN: they attend to nothing
        weights_BNLL = F.dropout(weights_BNLL.to(qkv_T3NH.dtype), self.dropout)
        self.probabilities.append(weights_BNLL)
        return self.layout.pack((weights_BNLL @ v_BNLH).transpose(1, 2))


def round_up(num_tokens: int) -> int:
    """Round up to a multiple of a sixteenth of the largest power of two that is not greater."""
    step = 1 << max(0, num_tokens.bit_length() - 5)
    return -(-num_tokens // step) * step


def choose_attention(
    device: torch.device, dtype: torch.dtype, head_dim: int, dropout: float, capability: tuple[int, int]
) -> AttentionPlanner:
    """Choose the fastest kernel that supports a model.

    Args:
        device: the model's device.
        dtype: the model's precision.
        head_dim: width of one head; the flash kernels support multiples of 8 up to 256.
        dropout: of the attention weights, 0 outside training.
        capability: compute capability of the device, (0, 0) if it has none; the flash kernels need 8.0.

    Returns:
        The constructor of the plan.
    """
    supports_flash = (
        device.type == "cuda"
        and torch.version.hip is None
        and dtype in (torch.float16, torch.bfloat16)
        and capability >= (8, 0)
        and head_dim % 8 == 0
        and head_dim <= 256
        and dropout == 0.0
    )
    return VarlenPlan.from_batch if supports_flash else GroupedPlan.from_batch


def device_capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability of a GPU, (0, 0) for other devices."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
