"""What a task is: its columns, declared before any data is read, and what it takes from a pass of the trunk.

A task is made on the driver, from settings and configurations alone, and sent to each model process, which loads its
head there. For a shard it gives a collector, which takes the passes one after the other and at the end gives the
columns, rows in input order.

Shapes: B sequences of one pass, T its tokens, D model width, C labels; N rows of the shard, S its sequences.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch

from pipelines.errors import FatalError, ShardError
from pipelines.rows.schemas import ROW
from xlm_core import PackedBatch, XLMTokenizer, plan_batches, take_ragged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.task_spec import TaskSettings
    from xlm_core import XLMConfig, XLMModel
    from xlm_core.checkpoint import PretrainedModule

Head = TypeVar("Head", bound="PretrainedModule")


@dataclass(frozen=True)
class Pass:
    """One forward pass of the trunk.

    Attributes:
        sequences: int64 [B], which of the shard's sequences it ran.
        tokens: int64 [T], which of the shard's tokens.
        batch: what went in.
        states: what came out of each layer, [T, D] each, if any task wants layers; else of the last alone.
    """

    sequences: NDArray[np.int64]
    tokens: NDArray[np.int64]
    batch: PackedBatch
    states: tuple[Tensor, ...]

    @property
    def hidden_TD(self) -> Tensor:  # noqa: N802
        """The last layer's output."""
        return self.states[-1]


@dataclass(eq=False)
class Model:
    """A loaded trunk, and how it is to be run.

    Attributes:
        trunk: on its device, in its precision.
        checkpoint: the directory it was loaded from.
        max_tokens: tokens of one forward pass; asked anew for each shard, since `shrink` lowers it.
        invariant: run each sequence alone, so that its bytes are its own.
    """

    trunk: XLMModel
    checkpoint: Path
    max_tokens: int
    invariant: bool

    @cached_property
    def tokenizer(self) -> XLMTokenizer:
        """The checkpoint's, for its vocabulary: texts are tokenized elsewhere."""
        return XLMTokenizer.from_pretrained(self.checkpoint)

    @property
    def device(self) -> torch.device:
        """Where the trunk lies."""
        return self.trunk.embeddings.weight.device

    def passes(self, shard: Sequences, *, all_layers: bool) -> Iterator[Pass]:
        """Run the trunk over all sequences of a shard, longest first.

        Raises:
            ShardError: what came out is not finite, as when half precision overflows.
        """
        places = np.arange(len(shard.ids))
        finite = torch.ones((), dtype=torch.bool, device=self.device)  # asked once: to know, the host waits
        for index in self.batches(shard.lengths):
            batch = PackedBatch.from_ragged(shard.ids, shard.cu_seqlens, shard.langs, index).to(self.device)
            tokens, _ = take_ragged(places, shard.cu_seqlens, index)
            if all_layers:
                _, states = self.trunk.forward_packed(batch, output_hidden_states=True)
            else:
                states = (self.trunk.forward_packed(batch),)
            finite &= states[-1].isfinite().all()
            yield Pass(index, tokens, batch, states)
        if not finite:
            raise ShardError(
                f"the model gives numbers that are not finite in {self.trunk.embeddings.weight.dtype}; set "
                "model.precision to bfloat16 or float32, or look at the checkpoint"
            )

    def shrink(self, shard: Sequences) -> None:
        """Halve the token budget, for good, after the device ran out of memory over a shard.

        What rows get does not depend on the budget. Where it makes no pass smaller, as with `invariant`, the shard has
        another try: the memory may have been short for a moment, on a device that several processes share.

        Raises:
            ShardError: the budget is no more than the shard's longest sequence, which runs alone then.
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
        torch.cuda.empty_cache()  # a smaller pass wants blocks of other sizes; without a GPU there is nothing to do

    def batches(self, lengths: NDArray[np.integer[Any]]) -> list[NDArray[np.int64]]:
        """Plan which sequences share a pass."""
        if self.invariant:
            # matrix products choose how to sum by the number of rows: only a row alone is always summed alike
            return list(np.arange(len(lengths)).reshape(-1, 1))
        return plan_batches(lengths, self.max_tokens)


class Collector(Protocol):
    """Gathers one task's results for one shard."""

    def add(self, step: Pass) -> None:
        """Take the results of one forward pass; not called for a task with `reads_pass` false."""
        ...

    def columns(self) -> list[pa.Array]:
        """Give the task's columns for the shard's rows."""
        ...


class Task(ABC):
    """One task of a job.

    Attributes:
        reads_pass: whether it takes the common pass of the trunk; others run the trunk themselves.
        wants_layers: whether it needs the output of every layer.
    """

    reads_pass = True
    wants_layers = False

    @property
    @abstractmethod
    def fields(self) -> list[pa.Field]:
        """The columns it adds."""

    @abstractmethod
    def load(self, model: Model, head: Path) -> None:
        """Load what it needs in a model process.

        Args:
            model: the trunk.
            head: the directory with its head, which is the checkpoint's where the job names no other.
        """

    @abstractmethod
    def collect(self, shard: Sequences) -> Collector:
        """Begin a shard of at least one row."""


def load_head(kind: type[Head], path: Path, model: Model) -> Head:
    """Load a head beside the trunk, in the precision of its file or better: heads are small."""
    return kind.from_pretrained(path, device=model.device)


def labels_of(config: XLMConfig) -> list[str]:
    """List a head's labels by id."""
    return [config.id2label[i] for i in range(config.num_labels)]


def label_metadata(labels: list[str], **more: str) -> dict[str, str]:
    """Describe a column of labels."""
    return {"labels": json.dumps(labels, ensure_ascii=False), **more}


def check_width(spec: TaskSettings, head: XLMConfig, trunk: XLMConfig) -> None:
    """Refuse a head that does not fit the trunk.

    Raises:
        FatalError: it was made for a model of another width.
    """
    if head.emb_dim != trunk.emb_dim:
        raise FatalError(
            f"{spec.kind}: {spec.head_url} is made for a model of width {head.emb_dim}, but the checkpoint's is "
            f"{trunk.emb_dim}; name a head that was trained on this checkpoint"
        )


def required(name: str, kind: pa.DataType, metadata: dict[str, str] | None = None) -> pa.Field:
    """Declare a column, or a part of one, that is never null."""
    return pa.field(name, kind, nullable=False, metadata=metadata)


def list_of(kind: pa.DataType) -> pa.DataType:
    """Declare lists without nulls in them."""
    return pa.list_(required("item", kind))


def struct_column(kind: pa.DataType, **parts: Any) -> pa.Array:
    """Make structs of a type from the values of each of its parts, by name."""
    return pa.StructArray.from_arrays([pa.array(parts[part.name], part.type) for part in kind], fields=list(kind))


def span_column(
    kind: pa.DataType,
    texts: list[str],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    **parts: Any,
) -> pa.Array:
    """Lay spans out as lists of structs, each with the characters it quotes.

    Args:
        kind: of the lists; its structs have text, start, end and what `parts` gives.
        texts: N strings.
        rows: the row of each span, never decreasing.
        starts, ends: its characters, end exclusive.
        parts: other values of the spans, by name.
    """
    places = zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)
    surfaces = [texts[row][start:end] for row, start, end in places]
    items = struct_column(kind.value_type, text=surfaces, start=starts, end=ends, **parts)
    return list_column(kind, np.searchsorted(rows, np.arange(len(texts) + 1)), items)


def list_column(kind: pa.DataType, borders: NDArray[np.integer[Any]], items: pa.Array) -> pa.Array:
    """Lay items out as lists, one a row; `borders` [N + 1] says where each row's begin."""
    return pa.ListArray.from_arrays(pa.array(borders, pa.int32()), items, type=kind)
