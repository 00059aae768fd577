"""Conversion between padded tensors and packed batches, by the reference's rules.

Letters: B sequences, T packed tokens, L padded length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from xlm_core.model.packing import PackedBatch
from xlm_core.ragged import cumulative_lengths


@dataclass(frozen=True)
class PaddedLayout:
    """The positions of a packed batch's tokens in the padded tensor."""

    index: Tensor  # int64 [T], b * L + l of each token
    shape: tuple[int, int]  # (B, L)

    def pack(self, padded: Tensor) -> Tensor:
        """Select the batch's tokens: [B, L, …] to [T, …]."""
        return padded.reshape(-1, *padded.shape[2:])[self.index]

    def unpack(self, packed: Tensor) -> Tensor:
        """Put the tokens back into a padded tensor: [T, …] to [B, L, …], zero at pads."""
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

    The batch contains the tokens that `attention_mask` selects (in any pattern). Without a mask it contains the first
    `lengths` tokens of each row; without lengths, as many tokens from the left as the row has ids other than
    `pad_index`. The position of a token is its column unless `position_ids` is given, so left padding and gaps in the
    mask count as positions, as in the reference.

    There is one difference from the reference: in a causal model the reference lets a token attend to masked tokens
    before it (left padding, gaps); here no token ever attends to a masked token.

    Args:
        input_ids, attention_mask, langs, token_type_ids: [B, L].
        position_ids: [B, L], or [1, L] or [L] for all rows.
        lengths: [B], from 1 to L.
        pad_index: id of the pad token; None if there is none.

    Raises:
        ValueError: shapes that do not match, or a row without a token.
    """
    if input_ids.dim() != 2 or not input_ids.numel():
        raise ValueError(f"input_ids: got shape {list(input_ids.shape)}, expected [batch, length] with tokens")
    shape = (input_ids.shape[0], input_ids.shape[1])
    column_1L = torch.arange(shape[1], device=input_ids.device)[None]
    if attention_mask is not None:
        keep_BL = _check_shape("attention_mask", attention_mask, shape) != 0
    else:
        if lengths is None:
            real_BL = torch.ones_like(input_ids) if pad_index is None else input_ids != pad_index
            lengths = real_BL.sum(dim=1)
        if int(_check_shape("lengths", lengths, shape[:1]).max()) > shape[1]:
            raise ValueError(f"lengths: got {int(lengths.max())}, expected at most {shape[1]} (the number of columns)")
        keep_BL = column_1L < lengths[:, None]
    num_kept = keep_BL.sum(dim=1).cpu().numpy()
    if not num_kept.all():
        raise ValueError(f"row {int(num_kept.argmin())} of the batch has no token: everything is masked or padding")
    layout = PaddedLayout(keep_BL.flatten().nonzero().squeeze(1), shape)

    def pack(name: str, padded: Tensor | None) -> Tensor | None:
        return None if padded is None else layout.pack(_check_shape(name, padded, shape))

    positions_BL = column_1L if position_ids is None else position_ids
    if positions_BL.shape in ((1, shape[1]), shape[1:]):  # one row for all
        positions_BL = positions_BL.expand(shape[0], -1)
    batch = PackedBatch(
        input_ids=layout.pack(input_ids),
        positions=layout.pack(_check_shape("position_ids", positions_BL, shape)),
        cu_seqlens=torch.from_numpy(cumulative_lengths(num_kept)).to(input_ids.device),
        langs=pack("langs", langs),
        token_types=pack("token_type_ids", token_type_ids),
    )
    return batch, layout


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tensor.shape != shape:
        raise ValueError(f"{name}: got shape {list(tensor.shape)}, expected {list(shape)}")
    return tensor
