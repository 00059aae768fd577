"""The infer stage: run the trunk once over a shard's tokens, and all tasks of the job on its output."""

from __future__ import annotations

import os
import resource
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray

from pipelines import metrics
from pipelines.environment import set_threads_to_wait
from pipelines.errors import FatalError, ShardError
from pipelines.ray_internals import session_folder
from pipelines.rows import ROW, decode_texts, locate_rows, read_sequences
from pipelines.stages.run_stage import run_stage
from pipelines.stages.start_limit import StartLimit
from pipelines.stages.stop_signal import RowsDone, begin
from pipelines.stages.time_limit import report_progress, time_limit
from xlm_core.decoding import find_distinct_rows
from xlm_core.errors import DeviceMemoryError, NotFiniteError
from xlm_core.inference import choose_precision

if TYPE_CHECKING:
    from collections.abc import Hashable

    import torch

    from pipelines.rows import Shard, Source
    from pipelines.stages.settings import InferStageSettings
    from pipelines.tasks import Task
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Model

# If this environment variable is set, Ray's GPUs are only nominal, and models run on the CPU. Tests use it to place
# workers as on a cluster with GPUs.
SIMULATED_GPUS = "XLM_SIMULATED_GPUS"


class Infer:
    """A process of the model pool. Trunk and heads stay loaded from shard to shard.

    Args:
        settings: what the process needs.
        on_gpu: whether the process has a GPU, or a share of one.
        num_threads: number of CPU threads to compute with, if it has no GPU.
        max_starts: how many processes may start before one has finished a shard; None for no limit.
        share_trunk: whether the processes of a node share the memory of the trunk, if they have no GPU.
    """

    def __init__(
        self,
        settings: InferStageSettings,
        *,
        on_gpu: bool,
        num_threads: int,
        max_starts: int | None = None,
        share_trunk: bool = False,
    ):
        self._settings, self._num_threads, self._share_trunk = settings, num_threads, share_trunk
        self._start_limit = StartLimit("model", max_starts)
        self._on_gpu = on_gpu and not os.environ.get(SIMULATED_GPUS)
        self._loaded = self._start_loading()  # while the first shard is read and tokenized

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run one shard, packed as a table of one row."""
        return run_stage("infer", table, self.step, self._settings.schema, begin)

    def step(self, shard: Shard) -> Shard:
        """Run all tasks on the rows of a shard. Identical rows are computed once; results are in input order."""
        try:
            model, tasks = self._loaded.result()
        except Exception:
            self._loaded = self._start_loading()  # for the next shard; this one fails with the error
            raise
        import torch  # `_load` has imported it

        # OpenMP has a number for each thread that calls it, and Ray may call this from several.
        torch.set_num_threads(self._num_threads)
        with time_limit(self._settings.timeout_s, "infer", shard.id), self._start_limit.survival(len(shard.rows)):
            pass_tokens, padded_tokens = model.pass_tokens, model.padded_tokens
            result = self._infer(shard, model, tasks)
            job = self._settings.job
            metrics.PASS_TOKENS.record(model.pass_tokens - pass_tokens, xlm_job=job)
            metrics.PADDED_TOKENS.record(model.padded_tokens - padded_tokens, xlm_job=job)
            metrics.DEVICE_MEMORY.record(_memory_bytes(model.device), xlm_job=job, device=model.device.type)
            return result

    def _infer(self, shard: Shard, model: Model, tasks: list[Task[Any]]) -> Shard:
        rows, schema = shard.rows, self._settings.schema
        results: dict[str, pa.Array] = {field.name: pa.nulls(0, field.type) for task in tasks for field in task.fields}
        halvings = 0
        if len(rows):
            sequences = read_sequences(rows)
            distinct = find_distinct_rows(sequences, _quoted_texts(rows, self._settings.text_columns))
            if distinct is not None:
                rows, sequences = rows.take(distinct.rows), sequences.take(distinct.rows)
            done = RowsDone(shard.id, shard.stats.rows_read)
            found, halvings = _run_tasks(model, tasks, sequences, rows, shard.stats.sources, done)
            for task, result in zip(tasks, found, strict=True):
                for field, column in zip(task.fields, task.columns(result, sequences, rows), strict=True):
                    results[field.name] = column if distinct is None else column.take(distinct.source)
        arrays = [results[name] if name in results else shard.rows.column(name) for name in schema.names]
        precision = str(model.dtype).removeprefix("torch.")
        stats = replace(shard.stats, precision=precision, oom_halvings=halvings)
        return replace(shard, rows=pa.RecordBatch.from_arrays(arrays, schema=schema), stats=stats)

    def _start_loading(self) -> Future[tuple[Model, list[Task[Any]]]]:
        executor = ThreadPoolExecutor(1)
        loaded = executor.submit(self._load)
        executor.shutdown(wait=False)
        return loaded

    def _load(self) -> tuple[Model, list[Task[Any]]]:
        set_threads_to_wait()
        # Here, because the driver imports this module, too, and does not need torch.
        import torch

        from xlm_core.inference import is_out_of_memory

        self._start_limit.check()
        torch.set_num_threads(self._num_threads)
        on_gpu = self._on_gpu
        if on_gpu and not torch.cuda.is_available():
            raise FatalError(_describe_invisible_gpu())
        device = torch.device("cuda" if on_gpu else "cpu")
        dtype = choose_precision(self._settings.precision, device)
        try:
            shared = session_folder() if self._share_trunk and not on_gpu else None
            model, tasks = self._settings.load(
                device, dtype, self._settings.max_tokens, shared and shared / "xlm-trunks"
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            name = str(dtype).removeprefix("torch.")
            raise ShardError(
                f"out of memory on {device}: the model does not fit in {name}; use a device with more memory, or "
                "one that no other process uses (compute.gpus_per_model: 1), or a smaller model.precision"
            ) from None
        # Tasks run the trunk in passes of their own too, and on a CPU a pass of a large model can take minutes.
        for layer in model.trunk.layers:
            layer.register_forward_hook(lambda *_: report_progress())
        return model, tasks


def _memory_bytes(device: torch.device) -> int:
    """Return the memory of this process: reserved by torch on a GPU; its largest resident set so far on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _describe_invisible_gpu() -> str:
    """Describe that Ray has assigned a GPU to this process, and torch does not see one."""
    import torch

    ids = ", ".join(map(str, ray.get_gpu_ids())) or "unknown"
    version = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    return (
        f"Ray has assigned GPU {ids} of node {ray.util.get_node_ip_address()} to a model process, but torch "
        f"{torch.__version__}, built with {version}, sees no GPU; install a torch with CUDA and a driver that supports "
        "it on every node, or set compute.gpus_per_model to 0 to use CPUs"
    )


def _quoted_texts(rows: pa.RecordBatch, text_columns: list[str]) -> list[list[Hashable]]:
    """Return the input's texts that results quote: the columns that the tokenize stage has passed on."""
    quoted = [name for name in dict.fromkeys(text_columns) if name in rows.schema.names]
    texts = [decode_texts(rows.column(name))[0] for name in quoted]
    return [[tuple(text) if isinstance(text, list) else text for text in column] for column in texts]


def _run_tasks(
    model: Model,
    tasks: list[Task[Any]],
    sequences: Sequences,
    rows: pa.RecordBatch,
    sources: tuple[Source, ...],
    done: RowsDone,
) -> tuple[list[Any], int]:
    """Return the result of each task, and how often the token budget was halved."""
    from xlm_core.inference import run_collectors

    def on_progress(share: float) -> None:
        report_progress()
        done.report(share)

    try:
        return run_collectors(model, sequences, lambda: [task.collect(sequences, rows) for task in tasks], on_progress)
    except DeviceMemoryError as error:
        files, numbers = locate_rows(sources, rows.column(ROW).slice(error.row, 1))
        raise ShardError(
            f"out of memory on {error.device}: the longest sequence, of {files[0]} row {numbers[0]}, has "
            f"{error.num_tokens} tokens, and ran alone (batch.max_tokens is {model.max_tokens} by now); lower "
            "tokenizer.max_length, or use a device with more memory"
        ) from None
    except NotFiniteError as error:
        raise ShardError(
            f"the output of the model is not finite in {error.precision}; set model.precision to bfloat16 or float32, "
            "or check the checkpoint"
        ) from None
