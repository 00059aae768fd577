"""multiple-choice: the best of each row's choices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.tasks.task import Task, check_width, list_column, list_of, load_head, required
from xlm_core import MultipleChoiceHead

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.settings import MultipleChoice
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig


class Choice(Task):
    """See `MultipleChoice`."""

    def __init__(self, spec: MultipleChoice, config: XLMConfig, head: XLMConfig):
        check_width(spec, head, config)
        self.spec = spec
        self.head: MultipleChoiceHead | None = None

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        choice, scores = self.spec.columns
        return [
            required(choice, pa.int32(), {"counts": "from 0, in the order of the choices"}),
            required(scores, list_of(pa.float32())),
        ]

    def load(self, model: Model, head: Path) -> None:
        """See `Task`."""
        self.head = load_head(MultipleChoiceHead, head, model)

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _ChoiceCollector(self, shard)


class _ChoiceCollector:
    """The scores of a row's choices are the softmax of their logits, and sum to 1."""

    def __init__(self, task: Choice, shard: Sequences):
        self.task, self.shard = task, shard
        self.logits_S = np.empty(len(shard.lengths), np.float64)

    def add(self, step: Pass) -> None:
        assert self.task.head is not None
        logits_B = self.task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        self.logits_S[step.sequences] = logits_B.double().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        first, rows = self.shard.borders[:-1], self.shard.row_ids
        exps = np.exp(self.logits_S - np.maximum.reduceat(self.logits_S, first)[rows])
        scores = exps / np.add.reduceat(exps, first)[rows]
        # sorted by row, then score: the first of a row is its best, and of two alike the earlier choice
        best = np.lexsort((-self.logits_S, rows))[first] - first
        kind = list_of(pa.float32())
        return [
            pa.array(best, pa.int32()),
            list_column(kind, self.shard.borders, pa.array(scores.astype(np.float32), pa.float32())),
        ]
