"""The loaded trunk and its forward passes over the sequences of a shard.

This is the only module of tasks that imports torch at the top.

Shapes: B sequences of one pass, T its tokens, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from pipelines.errors import ShardError
from pipelines.rows import ROW
from xlm_core import LanguageModelHead, PackedBatch, XLMTokenizer, plan_batches, take_ragged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from pipelines.rows import Sequences
    from xlm_core import XLMModel
    from xlm_core.checkpoint import PretrainedModule

HeadT = TypeVar("HeadT", bound="PretrainedModule")


@dataclass(frozen=True)
class Pass:
    """One forward pass of the trunk.

    Attributes:
        sequences: int64 [B], the positions of its sequences in the shard.
        tokens: int64 [T], the positions of its tokens in the shard.
        batch: the input.
        states: the output of every layer, [T, D] each, if a task needs them; otherwise of the last layer alone.
    """

    sequences: NDArray[np.int64]
    tokens: NDArray[np.int64]
    batch: PackedBatch
    states: tuple[Tensor, ...]

    @property
    def hidden_TD(self) -> Tensor:  # noqa: N802
        """The output of the last layer."""
        return self.states[-1]


@dataclass(eq=False)
class Model:
    """A loaded trunk and how to run it.

    Attributes:
        trunk: the trunk, on its device and in its precision.
        checkpoint: the directory it was loaded from.
        max_tokens: maximum number of tokens per forward pass. It is read for each shard, because `shrink` lowers it.
        invariant: whether each sequence runs alone, so that its result does not depend on others in any bit.
    """

    trunk: XLMModel
    checkpoint: Path
    max_tokens: int
    invariant: bool

    @cached_property
    def tokenizer(self) -> XLMTokenizer:
        """The checkpoint's tokenizer, for its vocabulary. Texts are tokenized in other processes."""
        return XLMTokenizer.from_pretrained(self.checkpoint)

    @property
    def device(self) -> torch.device:
        """The device of the trunk."""
        return self.trunk.embeddings.weight.device

    @property
    def own_pass_tokens(self) -> int:
        """Maximum tokens of a pass that a task runs itself. With 1, each sequence runs alone, as `invariant` needs."""
        return 1 if self.invariant else self.max_tokens

    def passes(self, shard: Sequences, *, all_layers: bool) -> Iterator[Pass]:
        """Run the trunk over all sequences of a shard, the longest first; with `invariant`, in input order.

        Raises:
            ShardError: some output is not finite, for example after an overflow in half precision.
        """
        positions = np.arange(len(shard.input_ids))
        # read once at the end, because reading it waits for the device
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        for index in self.batches(shard.lengths):
            batch = PackedBatch.from_ragged(shard.input_ids, shard.cu_seqlens, shard.langs, index).to(self.device)
            tokens, _ = take_ragged(positions, shard.cu_seqlens, index)
            if all_layers:
                _, states = self.trunk.forward_packed(batch, output_hidden_states=True)
            else:
                states = (self.trunk.forward_packed(batch),)
            finite &= states[-1].isfinite().all()
            yield Pass(index, tokens, batch, states)
        if not finite:
            raise ShardError(
                f"the output of the model is not finite in {self.trunk.embeddings.weight.dtype}; set model.precision "
                "to bfloat16 or float32, or check the checkpoint"
            )

    def shrink(self, shard: Sequences) -> None:
        """Halve `max_tokens` for this and all later shards, after the device ran out of memory.

        Results do not depend on `max_tokens`. If a lower limit makes no pass smaller, as with `invariant`, the shard
        is only retried: on a device shared by several processes, memory may have been short temporarily.

        Raises:
            ShardError: the longest sequence of the shard already runs alone.
        """
        longest = int(shard.lengths.argmax())
        num_tokens, row = int(shard.lengths[longest]), shard.rows.column(ROW)[int(shard.row_ids[longest])]
        if self.max_tokens <= num_tokens:
            raise ShardError(
                f"out of memory on {self.device}: the longest sequence, of row {row}, has {num_tokens} tokens, and ran "
                f"alone (batch.max_tokens is {self.max_tokens} by now); lower tokenizer.max_length, or use a device "
                "with more memory"
            )
        self.max_tokens //= 2
        torch.cuda.empty_cache()  # smaller passes need blocks of other sizes; does nothing without a GPU

    def batches(self, lengths: NDArray[np.integer[Any]]) -> list[NDArray[np.int64]]:
        """Plan which sequences share a forward pass."""
        if self.invariant:
            # matrix products choose their order of summation by the number of rows
            return list(np.arange(len(lengths)).reshape(-1, 1))
        return plan_batches(lengths, self.max_tokens)


def load_head(head_class: type[HeadT], folder: Path, model: Model) -> HeadT:
    """Load a head in float32, on the trunk's device. Heads are small."""
    return head_class.from_pretrained(folder, device=model.device)


def load_language_model_head(model: Model, folder: Path) -> LanguageModelHead:
    """Load a language model head in the trunk's precision, sharing the trunk's embeddings if the checkpoint does."""
    embeddings = model.trunk.embeddings
    head = LanguageModelHead.from_pretrained(folder, dtype=embeddings.weight.dtype, device=model.device)
    if head.config.tie_word_embeddings and folder == model.checkpoint:
        head.tie(embeddings)
    return head
