"""text-classification: one label a row, several at once, or the values of a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.tasks.task import (
    Task,
    check_width,
    label_metadata,
    labels_of,
    list_column,
    list_of,
    load_head,
    required,
    struct_column,
)
from xlm_core import SequenceClassificationHead
from xlm_core.model.packing import cumulative_lengths

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.settings import TextClassification
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig

_PROBLEMS = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
PAIR = pa.struct([required("label", pa.string()), required("score", pa.float32())])


class Classification(Task):
    """See `TextClassification`."""

    def __init__(self, spec: TextClassification, config: XLMConfig, head: XLMConfig):
        check_width(spec, head, config)
        self.spec, self.labels = spec, labels_of(head)
        self.head: SequenceClassificationHead | None = None
        made_for = head.problem_type or ("regression" if len(self.labels) == 1 else None)
        if made_for not in (None, _PROBLEMS[spec.problem]):
            right = next(name for name, problem in _PROBLEMS.items() if problem == made_for)
            raise FatalError(
                f"text-classification: the head is made for {made_for}, not {spec.problem}; set problem to {right}"
            )
        width = head.num_labels if head.summary_use_proj and head.summary_proj_to_labels else head.emb_dim
        if width != len(self.labels):
            raise FatalError(
                f"text-classification: the head gives vectors of width {width}, not scores of its {len(self.labels)} "
                "labels; its config.json says so by summary_use_proj or summary_proj_to_labels"
            )

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        kinds: dict[str, pa.DataType] = {
            "label": pa.string(),
            "score": pa.float32(),
            "top": list_of(PAIR),
            "labels": list_of(PAIR),
            "scores": list_of(pa.float32()),
            "values": list_of(pa.float32()),
        }
        about = label_metadata(self.labels)
        prefix = f"{self.spec.name}_" if self.spec.name else ""
        return [required(column, kinds[column.removeprefix(prefix)], about) for column in self.spec.columns]

    def load(self, model: Model, head: Path) -> None:
        """See `Task`."""
        self.head = load_head(SequenceClassificationHead, head, model)

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _ClassificationCollector(self, shard)


class _ClassificationCollector:
    """Scores of several windows are averaged, each weighted by its tokens."""

    def __init__(self, task: Classification, shard: Sequences):
        self.task, self.shard = task, shard
        self.scores_SC = np.empty((len(shard.lengths), len(task.labels)), np.float32)

    def add(self, step: Pass) -> None:
        assert self.task.head is not None
        logits_BC = self.task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens).float()
        match self.task.spec.problem:
            case "single-label":
                logits_BC = logits_BC.softmax(-1)
            case "multi-label":
                logits_BC = logits_BC.sigmoid()
            case "regression":
                pass
        self.scores_SC[step.sequences] = logits_BC.cpu().numpy()

    def columns(self) -> list[pa.Array]:
        scores_NC, spec = self.shard.mean_over_windows(self.scores_SC), self.task.spec
        if spec.problem == "regression":
            return [_pack(scores_NC)]
        if spec.problem == "multi-label":
            order = np.argsort(-scores_NC, axis=1, kind="stable")
            chosen = np.take_along_axis(scores_NC, order, 1) >= spec.threshold
            found = [self._pairs(scores_NC, order, chosen)]
        else:
            best = scores_NC.argmax(1)
            top_scores = scores_NC[np.arange(len(best)), best]
            found = [
                pa.array(np.array(self.task.labels, object)[best], pa.string()),
                pa.array(top_scores, pa.float32()),
            ]
            if spec.top_k:
                order = np.argsort(-scores_NC, axis=1, kind="stable")[:, : spec.top_k]
                found.append(self._pairs(scores_NC, order, np.ones_like(order, np.bool_)))
        return [*found, _pack(scores_NC)] if spec.scores else found

    def _pairs(self, scores_NC: np.ndarray, order: np.ndarray, chosen: np.ndarray) -> pa.Array:
        """Give the chosen labels of each row with their scores; `order` and `chosen` are [N, k]."""
        labels = np.array(self.task.labels, object)[order[chosen]]
        scores = np.take_along_axis(scores_NC, order, 1)[chosen]
        return list_column(
            list_of(PAIR), cumulative_lengths(chosen.sum(1)), struct_column(PAIR, label=labels, score=scores)
        )


def _pack(scores_NC: np.ndarray) -> pa.Array:
    borders = np.arange(len(scores_NC) + 1) * scores_NC.shape[1]
    return list_column(list_of(pa.float32()), borders, pa.array(scores_NC.reshape(-1), pa.float32()))
