"""The way from padded tensors to packed batches, by the reference's rules, and back.

Letters: B sequences, T packed tokens, L padded length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from xlm_core.model.packing import PackedBatch, cumulative_lengths


@dataclass(frozen=True)
class PaddedLayout:
    """Where the tokens of a packed batch stand in the padded tensor they came from."""

    index: Tensor  # int64 [T], b * L + l of every token kept
    shape: tuple[int, int]  # (B, L)

    def pack(self, padded: Tensor) -> Tensor:
        """Take the tokens kept: [B, L, …] to [T, …]."""
        return padded.reshape(-1, *padded.shape[2:])[self.index]

    def unpack(self, packed: Tensor) -> Tensor:
        """Put the tokens back: [T, …] to [B, L, …], zero at pads."""
        num_sequences, length = self.shape
        flat = packed.new_zeros((num_sequences * length, *packed.shape[1:]))
        return flat.index_copy(0, self.index, packed).unflatten(0, self.shape)


def pack_padded(
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    lengths: Tensor | None = None,
    position_ids: Tensor | None = None,
    langs: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    pad_index: int | None = None,
) -> tuple[PackedBatch, PaddedLayout]:
    """Pack padded tensors by the reference's rules.

    Which tokens are kept is told by `attention_mask` (any pattern), else by `lengths` (a prefix of each row),
    else by a prefix as long as the row's number of ids other than `pad_index`. A kept token's position is its
    column unless `position_ids` says otherwise, so left padding and holes shift no other token.

    The one departure: under a causal model the reference lets a token see the masked ones before it (left
    padding, holes); here no token ever sees a masked one.

    Args:
        input_ids, attention_mask, langs, token_type_ids: [B, L].
        position_ids: [B, L], or [1, L] or [L] for all rows.
        lengths: [B], from 1 to L.
        pad_index: the pad's id; None if there is none.

    Raises:
        ValueError: shapes that do not fit, or a row without a token.
    """
    if input_ids.dim() != 2 or not input_ids.numel():
        raise ValueError(f"input_ids: expected [batch, length] with tokens, got shape {list(input_ids.shape)}")
    shape = (input_ids.shape[0], input_ids.shape[1])
    column_1L = torch.arange(shape[1], device=input_ids.device)[None]
    if attention_mask is not None:
        keep_BL = _fit("attention_mask", attention_mask, shape) != 0
    else:
        if lengths is None:
            real_BL = torch.ones_like(input_ids) if pad_index is None else input_ids != pad_index
            lengths = real_BL.sum(dim=1)
        if int(_fit("lengths", lengths, shape[:1]).max()) > shape[1]:
            raise ValueError(f"lengths: expected at most the {shape[1]} columns, got {int(lengths.max())}")
        keep_BL = column_1L < lengths[:, None]
    kept = keep_BL.sum(dim=1).cpu().numpy()
    if not kept.all():
        raise ValueError(f"row {int(kept.argmin())} of the batch has no token: everything is masked or padding")
    layout = PaddedLayout(keep_BL.flatten().nonzero().squeeze(1), shape)

    def pack(name: str, padded: Tensor | None) -> Tensor | None:
        return None if padded is None else layout.pack(_fit(name, padded, shape))

    positions_BL = column_1L if position_ids is None else position_ids
    if positions_BL.shape in ((1, shape[1]), shape[1:]):  # one row for all
        positions_BL = positions_BL.expand(shape[0], -1)
    batch = PackedBatch(
        input_ids=layout.pack(input_ids),
        positions=layout.pack(_fit("position_ids", positions_BL, shape)),
        cu_seqlens=torch.from_numpy(cumulative_lengths(kept)).to(input_ids.device),
        langs=pack("langs", langs),
        token_types=pack("token_type_ids", token_type_ids),
    )
    return batch, layout


def _fit(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tensor.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(tensor.shape)}")
    return tensor
