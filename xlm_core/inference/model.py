"""The loaded trunk and its forward passes over the sequences of many rows.

Letters: B sequences of one pass, T its tokens, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xlm_core.errors import DeviceMemoryError
from xlm_core.model import PackedBatch
from xlm_core.ragged import plan_batches, ragged_positions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from xlm_core.decoding import Sequences
    from xlm_core.model import Trunk
    from xlm_core.tokenizer import PackedTokenizer


@dataclass(frozen=True)
class Pass:
    """One forward pass of the trunk.

    Attributes:
        sequences: int64 [B], the positions of its sequences among all sequences.
        tokens: int64 [T], the positions of its tokens among all tokens.
        batch: the input.
        states: the output of the embeddings and of each layer that ran, [T, D] each, or of the last of them alone.
        last_layer: the last layer that ran, 0 for the embeddings.
        num_layers: number of layers of the trunk.
    """

    sequences: NDArray[np.int64]
    tokens: NDArray[np.int64]
    batch: PackedBatch
    states: tuple[Tensor, ...]
    last_layer: int
    num_layers: int

    @property
    def hidden_TD(self) -> Tensor:  # noqa: N802
        """The output of the trunk's last layer."""
        return self.state(-1)

    def state(self, layer: int) -> Tensor:
        """Return the output of a layer that a collector asked for, [T, D]; 0 is the embeddings, -1 the last layer."""
        return self.states[layer % (self.num_layers + 1) - self.last_layer - 1]


@dataclass(eq=False)
class Model:
    """A loaded trunk and how to run it.

    Attributes:
        trunk: the trunk, on its device and in its precision.
        checkpoint: the directory it was loaded from.
        max_tokens: maximum number of tokens per forward pass. It is read before each run, because `shrink` lowers it.
        invariant: whether each sequence runs alone, so that its result does not depend on others in any bit.
        pass_tokens: tokens in all passes that tasks share, so far.
        padded_tokens: tokens that these would have if sequences were padded to the longest one of their pass.
    """

    trunk: Trunk
    checkpoint: Path
    max_tokens: int
    invariant: bool
    pass_tokens: int = 0
    padded_tokens: int = 0

    @cached_property
    def tokenizer(self) -> PackedTokenizer:
        """The checkpoint's tokenizer, for its vocabulary. May be assigned; jobs tokenize texts in other processes."""
        from xlm_core.tokenizer import PackedTokenizer  # here, because it loads libraries that few models need

        return PackedTokenizer.from_pretrained(self.checkpoint)

    @property
    def device(self) -> torch.device:
        """The device of the trunk."""
        return self.trunk.embeddings.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the trunk."""
        return self.trunk.embeddings.weight.dtype

    @property
    def own_pass_tokens(self) -> int:
        """Maximum tokens of a pass that a collector runs itself. With 1, each sequence runs alone, for `invariant`."""
        return 1 if self.invariant else self.max_tokens

    def run_pass(self, sequences: Sequences, index: NDArray[np.int64], layers: Iterable[int]) -> Pass:
        """Run the trunk over the sequences that `index` selects, up to the last of the layers whose output is needed.

        A GPU may not be done when this returns.
        """
        num_layers = self.trunk.config.n_layers
        needed = {layer % (num_layers + 1) for layer in layers}
        last = max(needed)
        batch = PackedBatch.from_ragged(sequences.input_ids, sequences.cu_seqlens, sequences.langs, index)
        batch = batch.to(self.device)
        if len(needed) > 1:
            _, states = self.trunk.forward_packed(batch, output_hidden_states=True, num_layers=last)
        else:
            states = (self.trunk.forward_packed(batch, num_layers=last),)
        return Pass(index, ragged_positions(sequences.cu_seqlens, index), batch, states, last, num_layers)

    def shrink(self, sequences: Sequences) -> None:
        """Halve `max_tokens` for this and all later runs, after the device ran out of memory.

        Results do not depend on `max_tokens`. If a lower limit makes no pass smaller, as with `invariant`, the run is
        only repeated: on a device shared by several processes, memory may have been short temporarily.

        Raises:
            DeviceMemoryError: the longest sequence already runs alone.
        """
        longest = int(sequences.lengths.argmax())
        num_tokens = int(sequences.lengths[longest])
        if self.max_tokens <= num_tokens:
            raise DeviceMemoryError(str(self.device), int(sequences.row_ids[longest]), num_tokens)
        self.max_tokens //= 2
        torch.cuda.empty_cache()  # smaller passes need blocks of other sizes; does nothing without a GPU

    def batches(self, lengths: NDArray[np.integer[Any]]) -> list[NDArray[np.int64]]:
        """Plan which sequences share a forward pass: the longest first; with `invariant`, each alone in input order."""
        if self.invariant:
            # matrix products choose their order of summation by the number of rows
            return list(np.arange(len(lengths)).reshape(-1, 1))
        return plan_batches(lengths, self.max_tokens)
