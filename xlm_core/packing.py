"""Packed batches: sequences laid end to end, planned by token budget, and the way to and from padded tensors.

Letters: B sequences, T packed tokens, L padded length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class BatchFacts:
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
        facts: filled in from the tensors when not given, which waits for the GPU if they lie there.
    """

    input_ids: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    langs: Tensor | None = None
    token_types: Tensor | None = None
    facts: BatchFacts = None  # pyright: ignore[reportAssignmentType]  # never None after __post_init__

    def __post_init__(self) -> None:
        if self.facts is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "facts", _survey(self))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, on the host, int64 [B]."""
        return self.facts.lengths

    @property
    def max_seqlen(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.facts.lengths.max())

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

    def split(self) -> Iterator[Self]:
        """Yield every sequence as a batch of its own, in order."""
        start = 0
        for length in self.lengths.tolist():
            part = slice(start, start + length)
            yield replace(
                self,
                input_ids=self.input_ids[part],
                positions=self.positions[part],
                cu_seqlens=torch.tensor([0, length], dtype=torch.int32, device=self.cu_seqlens.device),
                langs=None if self.langs is None else self.langs[part],
                token_types=None if self.token_types is None else self.token_types[part],
                facts=replace(self.facts, lengths=np.array([length])),
            )
            start += length


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
        position_ids: [B, L] or [1, L].
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
        if lengths.shape != shape[:1] or int(lengths.max()) > shape[1]:
            raise ValueError(f"lengths: expected {shape[0]} values up to {shape[1]}, got {lengths.tolist()}")
        keep_BL = column_1L < lengths[:, None]
    kept = keep_BL.sum(dim=1).cpu().numpy()
    if not kept.all():
        raise ValueError(f"row {int(kept.argmin())} of the batch has no token: everything is masked or padding")
    layout = PaddedLayout(keep_BL.flatten().nonzero().squeeze(1), shape)

    def pack(name: str, padded: Tensor | None) -> Tensor | None:
        return None if padded is None else layout.pack(_fit(name, padded, shape))

    positions_BL = column_1L if position_ids is None else position_ids
    batch = PackedBatch(
        input_ids=layout.pack(input_ids),
        positions=layout.pack(_fit("position_ids", positions_BL.expand(shape[0], -1), shape)),
        cu_seqlens=_tensor(cumulate(kept)).to(input_ids.device),
        langs=pack("langs", langs),
        token_types=pack("token_type_ids", token_type_ids),
    )
    return batch, layout


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
    return values[np.repeat(starts, lengths) + _ramps(lengths)], cumulate(lengths)


def cumulate(lengths: IntArray) -> NDArray[np.int32]:
    """Sum lengths [B] into cu_seqlens, int32 [B + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _ramps(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count 0, 1, 2 … anew for each length, end to end."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _tensor(array: NDArray[Any]) -> Tensor:
    """Copy into a tensor; torch shares memory with a NumPy array, and Arrow's must not be written."""
    return torch.from_numpy(np.array(array, order="C"))


def _fit(name: str, tensor: Tensor, shape: tuple[int, int]) -> Tensor:
    if tensor.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(tensor.shape)}")
    return tensor


def _survey(batch: PackedBatch) -> BatchFacts:
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
    return BatchFacts(lengths, ids, positions, span("langs", batch.langs), span("token_types", batch.token_types))
