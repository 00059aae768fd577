"""Packed batches: sequences laid end to end, and planned by token budget.

Letters: B sequences, T packed tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class BatchMetadata:
    """What the host must know of a batch; kept beside the tensors so that no forward waits for the GPU.

    Ranges are (smallest, largest), and may be wider than the batch's own where it was cut from a larger one.
    """

    lengths: NDArray[np.int64]  # [B]
    ids: tuple[int, int]
    positions: tuple[int, int]
    langs: tuple[int, int] | None
    token_types: tuple[int, int] | None


@dataclass(frozen=True)
class PackedBatch:
    """The sequences of one forward pass, end to end; sequence b is tokens cu_seqlens[b]:cu_seqlens[b + 1].

    Attributes:
        input_ids: int32 or int64 [T].
        positions: int32 or int64 [T], indices of the position table.
        cu_seqlens: int32 [B + 1], from 0, strictly increasing.
        langs: int32 or int64 [T], or None; -1 adds no language vector.
        token_types: int32 or int64 [T], or None. XLM has no segment table: the reference adds the *word*
            vector of each of these ids, and so do we.
        metadata: filled in from the tensors when not given, which waits for the GPU if they lie there.
    """

    input_ids: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    langs: Tensor | None = None
    token_types: Tensor | None = None
    metadata: BatchMetadata = None  # pyright: ignore[reportAssignmentType]  # never None after __post_init__

    def __post_init__(self) -> None:
        if self.metadata is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "metadata", _survey(self))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, on the host, int64 [B]."""
        return self.metadata.lengths

    @property
    def max_seqlen(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.metadata.lengths.max())

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.input_ids.shape[0]

    @classmethod
    def from_ragged(
        cls,
        input_ids: IntArray,
        cu_seqlens: IntArray,
        langs: Sequence[int] | IntArray | None = None,
        index: IntArray | None = None,
    ) -> Self:
        """Pack ragged arrays, or the sequences of them that `index` names, in its order.

        Args:
            input_ids: [T], ids of all sequences, end to end.
            cu_seqlens: [B + 1], from 0, strictly increasing.
            langs: [B], one language id per sequence; -1 for no language vector.
            index: [b], numbers of the sequences to take, for instance one of `plan_batches`.

        Raises:
            ValueError: no sequence, an empty one, or arrays that do not fit each other.
        """
        langs = None if langs is None else np.asarray(langs, np.int64)
        if index is not None:
            input_ids, cu_seqlens = take_ragged(input_ids, cu_seqlens, index)
            langs = None if langs is None else langs[index]
        lengths = np.diff(cu_seqlens).astype(np.int64)
        if not len(lengths) or lengths.min() < 1:
            raise ValueError(f"cu_seqlens: expected a strict increase, got {np.array2string(cu_seqlens, threshold=8)}")
        if langs is not None and len(langs) != len(lengths):
            raise ValueError(f"langs: expected one per sequence ({len(lengths)}), got {len(langs)}")
        langs_T = None if langs is None or bool((langs == -1).all()) else np.repeat(langs, lengths)
        return cls(
            input_ids=_tensor(input_ids),
            positions=_tensor(_ramps(lengths).astype(np.int32)),
            cu_seqlens=_tensor(cu_seqlens.astype(np.int32)),
            langs=None if langs_T is None else _tensor(langs_T),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Give the batch with its tensors on a device."""

        def move(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.to(device, non_blocking=non_blocking)

        return replace(
            self,
            input_ids=move(self.input_ids),
            positions=move(self.positions),
            cu_seqlens=move(self.cu_seqlens),
            langs=move(self.langs),
            token_types=move(self.token_types),
        )


def plan_batches(lengths: IntArray, max_tokens: int) -> list[NDArray[np.int64]]:
    """Group sequences into batches of at most `max_tokens` tokens, longest first.

    Similar lengths fall together, which is what grouped attention wants, and a budget too large for the device
    fails on the first batch rather than hours later. The plan depends on the lengths and the budget alone.

    Args:
        lengths: [B], tokens per sequence, each at least 1.
        max_tokens: the budget; a sequence longer than it gets a batch of its own.

    Returns:
        Index arrays that hold every sequence once.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens: expected at least 1, got {max_tokens}")
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    ends = np.cumsum(lengths[order], dtype=np.int64)
    plan: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        used = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, used + max_tokens, side="right")), start + 1)
        plan.append(order[start:stop])
        start = stop
    return plan


def take_ragged(values: NDArray[Any], cu_seqlens: IntArray, index: IntArray) -> tuple[NDArray[Any], IntArray]:
    """Take sequences out of a ragged array, in the order of `index`, without a Python loop.

    Returns:
        The values and int32 cu_seqlens of the sequences taken.
    """
    lengths = np.diff(cu_seqlens)[index].astype(np.int64)
    starts = cu_seqlens[:-1][index].astype(np.int64)
    return values[np.repeat(starts, lengths) + _ramps(lengths)], cumulative_lengths(lengths)


def cumulative_lengths(lengths: IntArray) -> NDArray[np.int32]:
    """Sum lengths [B] into cu_seqlens, int32 [B + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _ramps(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count 0, 1, 2 … anew for each length, end to end."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _tensor(array: NDArray[Any]) -> Tensor:
    """Copy into a tensor; torch shares memory with a NumPy array, and Arrow's must not be written."""
    return torch.from_numpy(np.array(array, order="C"))


def _survey(batch: PackedBatch) -> BatchMetadata:
    """Check that a batch is whole, and note what the host must know of it."""
    for name in ("input_ids", "positions", "cu_seqlens", "langs", "token_types"):
        tensor: Tensor | None = getattr(batch, name)
        if tensor is not None and (tensor.dim() != 1 or tensor.dtype not in (torch.int32, torch.int64)):
            raise ValueError(f"{name}: expected int32 or int64 [T], got {tensor.dtype} {list(tensor.shape)}")
    cu_seqlens = batch.cu_seqlens.cpu().numpy().astype(np.int64)
    lengths = np.diff(cu_seqlens)
    if not len(lengths) or cu_seqlens[0] != 0 or lengths.min() < 1 or cu_seqlens[-1] != batch.num_tokens:
        raise ValueError(
            f"cu_seqlens: expected 0 first, then strictly increasing to {batch.num_tokens} (the number of"
            f" tokens), got {np.array2string(cu_seqlens, threshold=8)}"
        )

    def span(name: str, tensor: Tensor | None) -> tuple[int, int] | None:
        if tensor is None:
            return None
        if tensor.shape != batch.input_ids.shape:
            raise ValueError(f"{name}: expected {batch.num_tokens} values, got shape {list(tensor.shape)}")
        low, high = torch.aminmax(tensor)
        return int(low), int(high)

    ids, positions = span("input_ids", batch.input_ids), span("positions", batch.positions)
    assert ids is not None
    assert positions is not None
    return BatchMetadata(lengths, ids, positions, span("langs", batch.langs), span("token_types", batch.token_types))
