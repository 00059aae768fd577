"""Packed batches: sequences concatenated without padding.

Letters: B sequences, T packed tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xlm_core.model.copies import to_device
from xlm_core.ragged import IntArray, concatenated_ranges, take_ragged


@dataclass(frozen=True)
class BatchMetadata:
    """Sequence lengths and value ranges of a batch, kept on the host so that a forward pass never waits for the GPU.

    Ranges are (smallest, largest).
    """

    lengths: NDArray[np.int64]  # [B]
    input_ids_range: tuple[int, int]
    positions_range: tuple[int, int]
    langs_range: tuple[int, int] | None
    token_types_range: tuple[int, int] | None


@dataclass(frozen=True)
class PackedBatch:
    """The concatenated sequences of one forward pass; sequence b is tokens cu_seqlens[b]:cu_seqlens[b + 1].

    Attributes:
        input_ids: int32 or int64 [T].
        positions: int32 or int64 [T], indices into the position embeddings.
        cu_seqlens: int32 [B + 1], starts at 0 and strictly increases.
        langs: int32 or int64 [T], or None; -1 adds no language embedding.
        token_types: int32 or int64 [T], or None. XLM has no token type embeddings: like the reference, the model adds
            the *word* embedding of each of these ids.
        metadata: computed from the tensors if not given, which synchronizes with the GPU if they are on one.
    """

    input_ids: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    langs: Tensor | None = None
    token_types: Tensor | None = None
    metadata: BatchMetadata = None  # pyright: ignore[reportAssignmentType]  # never None after __post_init__

    def __post_init__(self) -> None:
        if self.metadata is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "metadata", _compute_metadata(self))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each sequence, on the host, int64 [B]."""
        return self.metadata.lengths

    @property
    def max_seqlen(self) -> int:
        """Number of tokens of the longest sequence."""
        return int(self.metadata.lengths.max())

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all sequences, T."""
        return self.input_ids.shape[0]

    @classmethod
    def from_ragged(
        cls,
        input_ids: IntArray,
        cu_seqlens: IntArray,
        langs: Sequence[int] | IntArray | None = None,
        index: IntArray | None = None,
    ) -> Self:
        """Pack all sequences of a ragged array, or the sequences that `index` selects, in its order.

        Args:
            input_ids: [T], concatenated ids of all sequences.
            cu_seqlens: [B + 1], starts at 0 and strictly increases.
            langs: [B], one language id per sequence; -1 for no language embedding.
            index: [b], indices of the sequences to select, such as an array returned by `plan_batches`.

        Raises:
            ValueError: no sequence, an empty sequence, or arrays whose lengths do not match.
        """
        langs = None if langs is None else np.asarray(langs, np.int64)
        if index is not None:
            input_ids, cu_seqlens = take_ragged(input_ids, cu_seqlens, index)
            langs = None if langs is None else langs[index]
        lengths = np.diff(cu_seqlens).astype(np.int64)
        if not len(lengths) or lengths.min() < 1:
            raise ValueError(
                f"cu_seqlens: got {np.array2string(cu_seqlens, threshold=8)}, expected strictly increasing values"
            )
        if langs is not None and len(langs) != len(lengths):
            raise ValueError(f"langs: got {len(langs)}, expected one per sequence ({len(lengths)})")
        langs_T = None if langs is None or bool((langs == -1).all()) else np.repeat(langs, lengths)
        return cls(
            input_ids=_copy_to_tensor(input_ids),
            positions=_copy_to_tensor(concatenated_ranges(lengths).astype(np.int32)),
            cu_seqlens=_copy_to_tensor(cu_seqlens.astype(np.int32)),
            langs=None if langs_T is None else _copy_to_tensor(langs_T),
        )

    def to(self, device: torch.device | str) -> Self:
        """Return a copy of the batch with its tensors on the given device. The host does not wait for the copies."""

        def move(tensor: Tensor | None) -> Any:
            return None if tensor is None else to_device(tensor, device)

        return replace(
            self,
            input_ids=move(self.input_ids),
            positions=move(self.positions),
            cu_seqlens=move(self.cu_seqlens),
            langs=move(self.langs),
            token_types=move(self.token_types),
        )


def _copy_to_tensor(array: NDArray[Any]) -> Tensor:
    """Copy an array to a tensor; torch would share its memory, and Arrow's memory is read-only."""
    return torch.from_numpy(np.array(array, order="C"))


def _compute_metadata(batch: PackedBatch) -> BatchMetadata:
    """Validate the tensors of a batch and compute its metadata."""
    for name in ("input_ids", "positions", "cu_seqlens", "langs", "token_types"):
        tensor: Tensor | None = getattr(batch, name)
        if tensor is not None and (tensor.dim() != 1 or tensor.dtype not in (torch.int32, torch.int64)):
            raise ValueError(f"{name}: got {tensor.dtype} {list(tensor.shape)}, expected int32 or int64 [T]")
    cu_seqlens = batch.cu_seqlens.cpu().numpy().astype(np.int64)
    lengths = np.diff(cu_seqlens)
    if not len(lengths) or cu_seqlens[0] != 0 or lengths.min() < 1 or cu_seqlens[-1] != batch.num_tokens:
        raise ValueError(
            f"cu_seqlens: got {np.array2string(cu_seqlens, threshold=8)}, expected 0 first, then strictly increasing"
            f" values up to {batch.num_tokens} (the number of tokens)"
        )

    def value_range(name: str, tensor: Tensor | None) -> tuple[int, int] | None:
        if tensor is None:
            return None
        if tensor.shape != batch.input_ids.shape:
            raise ValueError(f"{name}: got shape {list(tensor.shape)}, expected {batch.num_tokens} values")
        low, high = torch.aminmax(tensor)
        return int(low), int(high)

    input_ids_range = value_range("input_ids", batch.input_ids)
    positions_range = value_range("positions", batch.positions)
    assert input_ids_range is not None
    assert positions_range is not None
    return BatchMetadata(
        lengths,
        input_ids_range,
        positions_range,
        value_range("langs", batch.langs),
        value_range("token_types", batch.token_types),
    )
