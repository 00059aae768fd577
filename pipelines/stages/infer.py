"""The infer stage: run the trunk once over a shard's tokens, and all tasks of the job on its output."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
import torch

from pipelines.errors import FatalError, ShardError
from pipelines.rows import Sequences
from pipelines.stages.deduplicate import find_distinct_rows
from pipelines.stages.run_stage import run_stage
from pipelines.stages.start_limit import StartLimit
from pipelines.stages.stop_signal import begin
from pipelines.stages.time_limit import report_progress, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.rows import Shard
    from pipelines.tasks import Model, Task

# Messages of out-of-memory errors that torch raises as plain RuntimeErrors: from its CPU allocator on Linux and on
# Windows, and from CUDA and cuBLAS, which allocate device memory outside of torch's own allocator.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


# If this environment variable is set, Ray's GPUs are only nominal, and models run on the CPU. Tests use it to place
# workers as on a cluster with GPUs.
SIMULATED_GPUS = "XLM_SIMULATED_GPUS"


@dataclass(frozen=True)
class InferStageSettings:
    """What a model process needs.

    Attributes:
        load: builds trunk and tasks, given a device, a data type, and the maximum number of tokens per forward pass;
            called once in each process.
        precision: "auto" is float32 on a CPU, and on a GPU float16, in which the released checkpoints were trained.
        max_tokens: maximum number of tokens per forward pass; None for the default of the device.
        text_columns: the input's text columns.
        schema: of the rows passed on: input columns and results.
        timeout_s: limit on the time without progress.
    """

    load: Callable[[torch.device, torch.dtype, int], tuple[Model, list[Task]]]
    precision: str
    max_tokens: int | None
    text_columns: list[str]
    schema: pa.Schema
    timeout_s: float


class Infer:
    """A process of the model pool. Trunk and heads stay loaded from shard to shard.

    Args:
        settings: what the process needs.
        on_gpu: whether the process has a GPU, or a share of one.
        num_threads: number of CPU threads to compute with, if it has no GPU.
        max_starts: how many processes may start before one has finished a shard; None for no limit.
    """

    def __init__(self, settings: InferStageSettings, *, on_gpu: bool, num_threads: int, max_starts: int | None = None):
        self._settings, self._num_threads = settings, num_threads
        self._start_limit = StartLimit("model", max_starts)
        self._loaded: tuple[Model, list[Task]] | None = None
        self._on_gpu = on_gpu and not os.environ.get(SIMULATED_GPUS)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run one shard, packed as a table of one row."""
        return run_stage("infer", table, self.step, self._settings.schema, begin)

    def step(self, shard: Shard) -> Shard:
        """Run all tasks on the rows of a shard. Identical rows are computed once; results are in input order."""
        model, tasks = self._loaded = self._loaded or self._load()
        with time_limit(self._settings.timeout_s, "infer", shard.id), self._start_limit.survival(len(shard.rows)):
            return self._infer(shard, model, tasks)

    @torch.inference_mode()
    def _infer(self, shard: Shard, model: Model, tasks: list[Task]) -> Shard:
        rows, schema = shard.rows, self._settings.schema
        results: dict[str, pa.Array] = {field.name: pa.nulls(0, field.type) for task in tasks for field in task.fields}
        halvings = 0
        if len(rows):
            distinct = find_distinct_rows(rows, self._settings.text_columns)
            sequences = Sequences.from_rows(rows if distinct is None else rows.take(distinct.rows))
            while (columns := _run_tasks(model, tasks, sequences)) is None:
                model.shrink(sequences)
                halvings += 1
            for field, column in columns:
                results[field.name] = column if distinct is None else column.take(distinct.source)
        arrays = [results[name] if name in results else rows.column(name) for name in schema.names]
        precision = str(model.trunk.embeddings.weight.dtype).removeprefix("torch.")
        stats = replace(shard.stats, precision=precision, oom_halvings=halvings)
        return replace(shard, rows=pa.RecordBatch.from_arrays(arrays, schema=schema), stats=stats)

    def _load(self) -> tuple[Model, list[Task]]:
        self._start_limit.check()
        torch.set_num_threads(self._num_threads)
        on_gpu = self._on_gpu
        if on_gpu and not torch.cuda.is_available():
            raise FatalError(_describe_invisible_gpu())
        device = torch.device("cuda" if on_gpu else "cpu")
        name = self._settings.precision if self._settings.precision != "auto" else "float16" if on_gpu else "float32"
        # On a CPU, larger passes do not fit the caches. A GPU needs enough rows to fill its multiprocessors.
        max_tokens = self._settings.max_tokens or (32_768 if on_gpu else 4_096)
        try:
            model, tasks = self._settings.load(device, getattr(torch, name), max_tokens)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise ShardError(
                f"out of memory on {device}: the model does not fit in {name}; use a device with more memory, or "
                "one that no other process uses (compute.gpus_per_model: 1), or a smaller model.precision"
            ) from None
        # Tasks run the trunk in passes of their own too, and on a CPU a pass of a large model can take minutes.
        for layer in model.trunk.layers:
            layer.register_forward_hook(lambda *_: report_progress())
        return model, tasks


def _describe_invisible_gpu() -> str:
    """Describe that Ray has assigned a GPU to this process, and torch does not see one."""
    ids = ", ".join(map(str, ray.get_gpu_ids())) or "unknown"
    version = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    return (
        f"Ray has assigned GPU {ids} of node {ray.util.get_node_ip_address()} to a model process, but torch "
        f"{torch.__version__}, built with {version}, sees no GPU; install a torch with CUDA and a driver that supports "
        "it on every node, or set compute.gpus_per_model to 0 to use CPUs"
    )


def _run_tasks(model: Model, tasks: list[Task], shard: Sequences) -> list[tuple[pa.Field, pa.Array]] | None:
    """Run the trunk on a shard's sequences, and return the columns of all tasks; None if memory runs out.

    The caller then runs the whole shard again, with new collectors, because a collector cannot undo what it has added.
    The largest pass runs first, so little work is lost.
    """
    try:
        collectors = [task.collect(shard) for task in tasks]
        readers = [collector for task, collector in zip(tasks, collectors, strict=True) if task.reads_pass]
        if readers:
            for step in model.passes(shard, all_layers=any(task.needs_all_layers for task in tasks)):
                for collector in readers:
                    collector.add(step)
        columns: list[tuple[pa.Field, pa.Array]] = []
        for task, collector in zip(tasks, collectors, strict=True):
            columns += zip(task.fields, collector.columns(), strict=True)
            report_progress()
        return columns
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return None  # the caller retries, because the traceback still references the tensors of the pass


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(message in str(error) for message in _OUT_OF_MEMORY)
