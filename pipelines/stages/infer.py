"""Infer: one pass of the trunk over a shard's tokens serves all tasks of the job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from pipelines.errors import ShardError
from pipelines.rows.sequences import Sequences
from pipelines.stages.deduplicate import find_repeats
from pipelines.stages.run_stage import run_stage
from pipelines.stages.stop_signal import begin
from pipelines.stages.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.rows.shard import Shard
    from pipelines.stages.time_limit import ShardLimit
    from pipelines.tasks.task import Model, Task

# What is said where torch has no type for it: by its CPU allocator on Linux and on Windows, and by CUDA and cuBLAS,
# which take memory that torch's CUDA allocator has left them.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True)
class InferSettings:
    """What a model process needs.

    Attributes:
        load: builds trunk and tasks on a device, in a precision, for passes of so many tokens; once in each process.
        precision: "auto" is float16 on a GPU, in which the released checkpoints were trained, else float32.
        max_tokens: tokens of one forward pass; None for what suits the device.
        text_columns: the input's columns of text.
        schema: of the rows handed on: input columns and results.
        limit: on the time for a shard.
    """

    load: Callable[[torch.device, torch.dtype, int], tuple[Model, list[Task]]]
    precision: str
    max_tokens: int | None
    text_columns: list[str]
    schema: pa.Schema
    limit: ShardLimit


class Infer:
    """A model process of the pool; trunk and heads stay loaded from shard to shard.

    Args:
        settings: what it needs.
        on_gpu: whether the process has a GPU, or a share of one.
        num_threads: CPU threads to compute with, where there is no GPU.
    """

    def __init__(self, settings: InferSettings, *, on_gpu: bool, num_threads: int):
        self._settings, self._num_threads = settings, num_threads
        self._loaded: tuple[Model, list[Task]] | None = None
        self._device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run one shard, as Ray hands it over."""
        return run_stage("infer", table, self.step, self._settings.schema, begin)

    def step(self, shard: Shard) -> Shard:
        """Run all tasks over the rows of a shard, each distinct row once; results come in input order."""
        model, tasks = self._loaded = self._loaded or self._load()
        with time_limit(self._settings.limit.seconds(len(shard.rows))):
            return self._infer(shard, model, tasks)

    @torch.inference_mode()
    def _infer(self, shard: Shard, model: Model, tasks: list[Task]) -> Shard:
        rows, schema = shard.rows, self._settings.schema
        results: dict[str, pa.Array] = {field.name: pa.array([], field.type) for task in tasks for field in task.fields}
        halvings = 0
        if len(rows):
            repeats = find_repeats(rows, self._settings.text_columns)
            sequences = Sequences.of(rows if repeats is None else rows.take(repeats.distinct))
            while (columns := _run(model, tasks, sequences)) is None:
                model.shrink(sequences)
                halvings += 1
            for field, column in columns:
                results[field.name] = column if repeats is None else column.take(repeats.source)
        arrays = [results[name] if name in results else rows.column(name) for name in schema.names]
        precision = str(model.trunk.embeddings.weight.dtype).removeprefix("torch.")
        stats = replace(shard.stats, precision=precision, oom_halvings=halvings)
        return replace(shard, rows=pa.RecordBatch.from_arrays(arrays, schema=schema), stats=stats)

    def _load(self) -> tuple[Model, list[Task]]:
        torch.set_num_threads(self._num_threads)
        on_gpu = self._device.type == "cuda"
        name = self._settings.precision if self._settings.precision != "auto" else "float16" if on_gpu else "float32"
        # on a CPU larger passes fall out of the caches; a GPU wants enough rows to fill its multiprocessors
        max_tokens = self._settings.max_tokens or (32_768 if on_gpu else 4_096)
        try:
            return self._settings.load(self._device, getattr(torch, name), max_tokens)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise ShardError(
                f"out of memory on {self._device}: the model does not fit there in {name}; use a device with more "
                "memory, or one that nothing else uses (compute.gpus_per_model: 1), or a smaller model.precision"
            ) from None


def _run(model: Model, tasks: list[Task], shard: Sequences) -> list[tuple[pa.Field, pa.Array]] | None:
    """Take the shard's sequences through the trunk, and give the columns of all tasks; None if memory runs out.

    The shard then runs again from its beginning, with new collectors: one that has taken a part of a pass has no way
    back. Passes begin with the largest, so little is lost.
    """
    try:
        collectors = [task.collect(shard) for task in tasks]
        readers = [collector for task, collector in zip(tasks, collectors, strict=True) if task.reads_pass]
        if readers:
            for step in model.passes(shard, all_layers=any(task.needs_all_layers for task in tasks)):
                for collector in readers:
                    collector.add(step)
        return [
            pair
            for task, collector in zip(tasks, collectors, strict=True)
            for pair in zip(task.fields, collector.columns(), strict=True)
        ]
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return None  # not from here: the error's traceback still holds the tensors of the pass


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _OUT_OF_MEMORY)
