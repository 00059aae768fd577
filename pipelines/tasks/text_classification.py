"""text-classification: one label for each row, several labels, or the values of a regression.

Shapes: N rows of a shard, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.results import (
    MAX_ITEMS,
    compare_categories,
    compare_label_scores,
    compare_numbers,
    item_labels,
    item_numbers,
    labels_of,
    list_column,
    list_of,
    numbers_of,
    render_items,
    render_number_list,
    render_scalar,
    render_text,
    required,
    struct_column,
)
from pipelines.settings import Count
from pipelines.tasks.task import HeadTaskSettings, Task, label_metadata, trained_langs_notes
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.results import CompareFields, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import SequenceClassificationHead, XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, Model

_LABEL_SCORE = pa.struct([required("label", pa.string()), required("score", pa.float32())])


class TextClassification(HeadTaskSettings):
    """Classify each row.

    Writes columns `label` and `score`, and `top` and `scores` on request. With a multi-label head: `labels`, and
    `scores` on request. With a regression head: `values`.
    """

    kind: ClassVar[str] = "text-classification"

    top_k: Count | None = Field(
        default=None, description="Also write this many of the best labels with their scores, as column top."
    )
    scores: bool = Field(default=False, description="Also write the scores of all labels, as column scores.")
    problem: Literal["single-label", "multi-label", "regression"] = Field(
        default="single-label",
        description="What the head was trained for: one label per row, any number of labels, or numeric values.",
    )
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="For multi-label: the lowest score of a label that is written."
    )

    @model_validator(mode="after")
    def _check_problem(self) -> Self:
        if self.problem == "regression" and (self.top_k or self.scores):
            raise ValueError("a regression writes values, not labels; remove top_k and scores")
        if self.problem == "multi-label" and self.top_k:
            raise ValueError("threshold selects the labels of a multi-label head; remove top_k")
        if self.problem != "multi-label" and self.threshold != 0.5:
            raise ValueError("threshold needs a multi-label head; set problem to multi-label, or remove threshold")
        return self

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        scores = {"scores": compare_numbers("the numbers")} if self.scores else {}
        match self.problem:
            case "single-label":
                top = {"top": compare_label_scores()} if self.top_k else {}
                label = {"label": compare_categories("the label"), "score": compare_numbers("the number")}
                return label | top | scores
            case "multi-label":
                return {"labels": compare_label_scores()} | scores
            case "regression":
                return {"values": compare_numbers("the numbers")}

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> TextClassificationTask:
        """See `TaskSettings`."""
        return TextClassificationTask(self, self.read_head_config("sequence-classification", head_folder, trunk))

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`. A label and its score share a line."""
        for name in self.column_comparisons():
            column = self.column(name)
            match name:
                case "label":
                    yield column, f"{render_scalar(row[column])} {row[self.column('score')]:.2f}"
                case "score":
                    pass
                case "top" | "labels":
                    yield column, render_items(_render_label(item) for item in row[column][:MAX_ITEMS])
                case _:
                    yield column, render_number_list(row[column])

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`."""
        match self.problem:
            case "single-label":
                for name, values_of in (("label", labels_of), ("score", numbers_of)):
                    yield values_of(self.column(name), rows[self.column(name)].chunk(0))
            case "multi-label":
                labels = rows[self.column("labels")].chunk(0)
                yield item_labels(self.column("labels"), labels, "label")
                yield item_numbers(f"{self.column('labels')}.score", labels, "score")
            case "regression":
                yield item_numbers(self.column("values"), rows[self.column("values")].chunk(0))


def _render_label(item: dict[str, Any]) -> str:
    return f"{render_text(item['label'])} {item['score']:.2f}"


class TextClassificationTask(Task["NDArray[np.float32]"]):
    """The task of `TextClassification`."""

    def __init__(self, settings: TextClassification, head: XLMConfig):
        from xlm_core.inference import check_classification, head_labels

        check_classification(head, settings.problem)
        self.settings, self.labels, self.metadata = settings, head_labels(head), label_metadata(head)
        self.notes = trained_langs_notes(settings.kind, head)
        self.head: SequenceClassificationHead | None = None

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        types: dict[str, pa.DataType] = {
            "label": pa.string(),
            "score": pa.float32(),
            "top": list_of(_LABEL_SCORE),
            "labels": list_of(_LABEL_SCORE),
            "scores": list_of(pa.float32()),
            "values": list_of(pa.float32()),
        }
        names = self.settings.column_comparisons()
        return [required(self.settings.column(name), types[name], self.metadata) for name in names]

    def load(self, model: Model, head_folder: Path) -> None:
        """See `Task`."""
        from xlm_core import SequenceClassificationHead
        from xlm_core.inference import load_head

        self.head = load_head(SequenceClassificationHead, head_folder, model)

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[NDArray[np.float32]]:
        """See `Task`."""
        from xlm_core.inference import ClassificationCollector

        assert self.head is not None
        return ClassificationCollector(sequences, self.head, self.settings.problem)

    def columns(self, result: NDArray[np.float32], sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        from xlm_core.inference import rank_labels

        settings, scores_NC = self.settings, result
        if settings.problem == "regression":
            return [_score_lists(scores_NC)]
        if settings.problem == "multi-label":
            order = rank_labels(scores_NC)
            chosen = np.take_along_axis(scores_NC, order, 1) >= settings.threshold
            columns = [self._label_lists(scores_NC, order, chosen)]
        else:
            order = rank_labels(scores_NC, settings.top_k or 1)
            best = order[:, 0]
            columns = [
                pa.array(np.array(self.labels, object)[best], pa.string()),
                pa.array(scores_NC[np.arange(len(best)), best], pa.float32()),
            ]
            if settings.top_k:
                columns.append(self._label_lists(scores_NC, order, np.ones_like(order, np.bool_)))
        return [*columns, _score_lists(scores_NC)] if settings.scores else columns

    def _label_lists(
        self, scores_NC: NDArray[np.float32], order: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> pa.Array:
        """List the chosen labels of each row with their scores. `order` and `chosen` are [N, K]."""
        labels = np.array(self.labels, object)[order[chosen]]
        scores = np.take_along_axis(scores_NC, order, 1)[chosen]
        items = struct_column(_LABEL_SCORE, label=labels, score=scores)
        return list_column(list_of(_LABEL_SCORE), cumulative_lengths(chosen.sum(1)), items)


def _score_lists(scores_NC: NDArray[np.float32]) -> pa.Array:
    offsets = np.arange(len(scores_NC) + 1) * scores_NC.shape[1]
    return list_column(list_of(pa.float32()), offsets, pa.array(scores_NC.reshape(-1), pa.float32()))
