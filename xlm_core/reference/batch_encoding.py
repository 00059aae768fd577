"""Padded batches in the reference's form: a dictionary of lists, arrays or tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

PaddingSide = Literal["right", "left"]
ArrayKind = Literal["pt", "np"]

# Values at pads. (`input_ids` have the tokenizer's pad id there.) Models ignore all of them.
_PAD_VALUES: dict[str, Any] = {
    "attention_mask": 0,
    "langs": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}


class BatchEncoding(dict[str, Any]):
    """The result of calling a tokenizer: a dictionary with attributes, which can be passed as `model(**encoding)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoding has no {name}; its keys are {', '.join(self)}") from None

    def to(self, device: str | torch.device) -> BatchEncoding:
        """Move every tensor to a device, in place, and return this object."""
        for key, value in self.items():
            if hasattr(value, "to"):
                self[key] = value.to(device)
        return self


def pad_batch(batch: Mapping[str, Any], pad_id: int, length: int, side: PaddingSide) -> BatchEncoding:
    """Pad the sequences of a batch to `length`. Longer sequences are not changed.

    Args:
        batch: `input_ids` and other keys with one list per sequence. Keys without one value per token are not changed.
        pad_id: the id of the pads.
        length: the number of tokens and pads.
        side: the side of the pads.
    """
    padded = BatchEncoding(batch)
    for key, fill in ("input_ids", pad_id), *_PAD_VALUES.items():
        if key in padded:
            padded[key] = [_pad(values, [fill] * (length - len(values)), side) for values in padded[key]]
    return padded


def _pad(values: list[Any], pads: list[Any], side: PaddingSide) -> list[Any]:
    return values + pads if side == "right" else pads + values


def as_arrays(batch: Mapping[str, Any], kind: ArrayKind) -> BatchEncoding:
    """Convert lists to arrays or tensors: int64 [B, L], offsets [B, L, 2].

    Raises:
        ValueError: the sequences have different lengths.
    """
    result = BatchEncoding()
    for key, values in batch.items():
        try:
            array = np.array(values)
        except ValueError:
            lengths = sorted({len(row) for row in values})
            raise ValueError(
                f"{key}: sequences have {lengths[0]} to {lengths[-1]} tokens, but an array needs one length; set "
                "padding, and truncation to the padded length"
            ) from None
        if not array.size:  # numpy makes it float64, with too few dimensions
            array = np.zeros((len(values), 0, 2) if key == "offset_mapping" else (len(values), 0), np.int64)
        result[key] = _tensor(array) if kind == "pt" else array
    return result


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    import torch  # here, because tokenizer processes do not import torch

    return torch.from_numpy(array)
