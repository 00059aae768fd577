"""Infer: one pass of the trunk over a shard's tokens serves all tasks of the job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from pipelines.columns import INPUT_IDS, LANG, ragged
from pipelines.shard import Shard, run_stage
from xlm_core import PackedBatch, plan_batches, take_ragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipelines.tasks import Task
    from xlm_core import XLMModel


@dataclass(frozen=True)
class InferSettings:
    """What a model process needs.

    Attributes:
        load: builds the trunk and the tasks on the CPU, once in each process.
        precision: "auto" is float16 on a GPU, in which the released checkpoints were trained, else float32.
        max_tokens: tokens of one forward pass; None for what suits the device.
        on_gpu: whether the process has a GPU to itself, or a share of one.
        invariant: run each row alone, so that on one device, with one number of threads, its bytes are its own.
        num_threads: of the CPU, where there is no GPU.
        result_names: columns the tasks add.
        schema: of the rows handed on: input columns and results.
    """

    load: Callable[[], tuple[XLMModel, list[Task]]]
    precision: str
    max_tokens: int | None
    on_gpu: bool
    invariant: bool
    num_threads: int
    result_names: list[str]
    schema: pa.Schema


class Infer:
    """A model process of the pool; trunk and heads stay loaded from shard to shard."""

    def __init__(self, settings: InferSettings):
        self._settings = settings
        self._loaded: tuple[XLMModel, list[Task]] | None = None
        self._device = torch.device("cuda" if settings.on_gpu and torch.cuda.is_available() else "cpu")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run one shard, as Ray hands it over."""
        return run_stage("infer", table, self.step, self._settings.schema)

    @torch.inference_mode()
    def step(self, shard: Shard) -> Shard:
        """Run all tasks over the rows of a shard; results come in input order."""
        trunk, tasks = self._loaded = self._loaded or self._load()
        rows = shard.rows
        ids, cu_seqlens = ragged(rows.column(INPUT_IDS))
        langs = rows.column(LANG).to_numpy()
        collectors = [task.collect(len(rows), len(ids)) for task in tasks]
        places = np.arange(len(ids))
        for index in self._batches(np.diff(cu_seqlens)):
            batch_ids, batch_seqlens = take_ragged(ids, cu_seqlens, index)
            batch = PackedBatch.from_ragged(batch_ids, batch_seqlens, langs[index]).to(self._device)
            hidden_TD = trunk.forward_packed(batch)
            tokens, _ = take_ragged(places, cu_seqlens, index)
            for collector in collectors:
                collector.add(index, tokens, hidden_TD, batch.cu_seqlens)
        results = [column for collector in collectors for column in collector.columns(rows)]
        found = dict(zip(self._settings.result_names, results, strict=True))
        columns = [found[name] if name in found else rows.column(name) for name in self._settings.schema.names]
        return replace(shard, rows=pa.RecordBatch.from_arrays(columns, schema=self._settings.schema))

    def _load(self) -> tuple[XLMModel, list[Task]]:
        torch.set_num_threads(self._settings.num_threads)
        trunk, tasks = self._settings.load()
        on_gpu = self._device.type == "cuda"
        name = self._settings.precision if self._settings.precision != "auto" else "float16" if on_gpu else "float32"
        trunk.to(device=self._device, dtype=getattr(torch, name)).eval()
        for task in tasks:
            task.to(self._device)
        return trunk, tasks

    def _batches(self, lengths: NDArray[np.int32]) -> list[NDArray[np.int64]]:
        if self._settings.invariant:
            # matrix products choose how to sum by the number of rows: only a row alone is always summed alike
            return list(np.arange(len(lengths)).reshape(-1, 1))
        # on a CPU larger passes fall out of the caches; a GPU wants enough rows to fill its multiprocessors
        return plan_batches(lengths, self._settings.max_tokens or (32_768 if self._device.type == "cuda" else 4_096))
