"""Padded batches as the reference gives them: a dictionary of lists, arrays or tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

Side = Literal["right", "left"]
ArrayKind = Literal["pt", "np"]

# What stands at a pad; the pad's id is the tokenizer's own. A model reads none of these there.
_PAD_VALUES: dict[str, Any] = {
    "attention_mask": 0,
    "langs": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}


class BatchEncoding(dict[str, Any]):
    """What a tokenizer's call gives; `encoding["input_ids"]` is `encoding.input_ids`, and `model(**encoding)` works."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoding has no {name}; it has {', '.join(self)}") from None

    def to(self, device: str | torch.device) -> BatchEncoding:
        """Move every tensor to a device, and give this object."""
        for key, value in self.items():
            if hasattr(value, "to"):
                self[key] = value.to(device)
        return self


def pad_batch(batch: Mapping[str, Any], pad_id: int, length: int, side: Side) -> BatchEncoding:
    """Pad the lists of a batch, one for each sequence, to `length`; a longer one stays as it is.

    Args:
        batch: `input_ids`, and what goes with them; keys that are no list of a value a token stay as they are.
        pad_id: the id at a pad.
        length: tokens and pads.
        side: where the pads go.
    """
    padded = BatchEncoding(batch)
    for key, fill in ("input_ids", pad_id), *_PAD_VALUES.items():
        if key in padded:
            padded[key] = [_pad(values, [fill] * (length - len(values)), side) for values in padded[key]]
    return padded


def _pad(values: list[Any], pads: list[Any], side: Side) -> list[Any]:
    return values + pads if side == "right" else pads + values


def as_lists(values: Any) -> Any:
    """Turn tensors and arrays, also those within lists, into lists, and leave the rest."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [as_lists(value) for value in values] if isinstance(values, list | tuple) else values


def as_arrays(batch: Mapping[str, Any], kind: ArrayKind) -> BatchEncoding:
    """Turn lists into arrays or tensors: int64 [B, L], offsets [B, L, 2].

    Raises:
        ValueError: sequences of differing lengths.
    """
    found = BatchEncoding()
    for key, values in batch.items():
        try:
            array = np.array(values)
        except ValueError:
            lengths = sorted({len(row) for row in values})
            raise ValueError(
                f"{key}: sequences have {lengths[0]} to {lengths[-1]} tokens, but an array needs one length; set "
                "padding, and truncation to what is padded to"
            ) from None
        if not array.size:  # of which numpy makes float64, in too few dimensions
            array = np.zeros((len(values), 0, 2) if key == "offset_mapping" else (len(values), 0), np.int64)
        found[key] = _tensor(array) if kind == "pt" else array
    return found


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    import torch  # here, since a tokenizer by itself does without

    return torch.from_numpy(array)
