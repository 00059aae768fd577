"""Measures of text-classification: accuracy and F1 of labels, and of sets of labels.

Shapes: N rows, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.columns import flatten, list_lengths
from pipelines.evaluation.measures.labels import (
    LabelNumbers,
    accuracy,
    count_confusion,
    count_entries,
    is_label,
    macro_f1,
    micro_scores,
)
from pipelines.evaluation.measures.measure import Confidences, Confusion, Measure, Metric, ratio
from pipelines.evaluation.resampling import Entries
from pipelines.rows import is_list
from xlm_core.ragged import cumulative_lengths, ragged_positions

if TYPE_CHECKING:
    from pipelines.evaluation.matching import Matched
    from pipelines.tasks import TextClassification

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class SingleLabel(Measure):
    """Accuracy and macro-F1 of one label per row, as scikit-learn computes them."""

    metrics = (Metric("accuracy"), Metric("macro-F1"))
    gold_names: ClassVar[tuple[str, ...]] = ("label", "labels", "gold", "class")

    def __init__(self, task: TextClassification, schema: pa.Schema):
        self._label, self._score = task.column("label"), task.column("score")
        self._numbers = LabelNumbers.of(schema.field(self._label))
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._label, self._score]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        return None if is_label(field.type) else "labels, as strings or as numbers of the head's labels"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        gold = self._numbers.encode(to_column(rows.gold, rows.gold.column_names[0]))
        predicted = self._numbers.encode(to_column(rows.results, self._label))
        score = to_column(rows.results, self._score).to_numpy(zero_copy_only=False)
        self._parts.append((gold, predicted, score))

    def doubt(self) -> str | None:
        """See `Measure`."""
        return self._numbers.describe_unknown()

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        self._gold, self._predicted, self._scores = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3 * len(self._numbers.names)

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        return count_entries(np.arange(len(rows)), self._gold[rows], self._predicted[rows], len(self._numbers.names))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        num_labels = len(self._numbers.names)
        return np.stack([accuracy(sums, num_labels), macro_f1(sums, num_labels)], -1)

    def decisions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `Measure`."""
        return self._gold[rows] == self._predicted[rows]

    def confidences(self, rows: NDArray[np.int64]) -> Confidences:
        """See `Measure`."""
        return Confidences(self._scores[rows], self.decisions(rows))

    def confusion(self, rows: NDArray[np.int64]) -> Confusion:
        """See `Measure`."""
        return count_confusion(self._numbers.names, self._gold[rows], self._predicted[rows])


class MultiLabel(Measure):
    """F1 of sets of labels, and the share of rows in which the whole set is right, as scikit-learn computes them."""

    metrics = (Metric("all labels right"), Metric("micro-F1"), Metric("macro-F1"))
    gold_names: ClassVar[tuple[str, ...]] = ("labels", "label", "gold")

    def __init__(self, task: TextClassification, schema: pa.Schema):
        self._labels = task.column("labels")
        self._scores = task.column("scores") if task.scores else None
        self._numbers = LabelNumbers.of(schema.field(self._labels))
        self._num_head_labels = len(self._numbers.names)
        self._parts: list[tuple[NDArray[np.int64], ...]] = []
        self._score_parts: list[NDArray[np.float32]] = []

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._labels, *([self._scores] if self._scores else [])]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        is_labels = is_list(field.type) and is_label(field.type.value_type)
        return None if is_labels else "lists of labels"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        gold, predicted = to_column(rows.gold, rows.gold.column_names[0]), to_column(rows.results, self._labels)
        gold_numbers = self._numbers.encode(flatten(gold))
        predicted_numbers = self._numbers.encode(pc.struct_field(flatten(predicted), "label"))
        self._parts.append((list_lengths(gold), gold_numbers, list_lengths(predicted), predicted_numbers))
        if self._scores:
            scores = flatten(to_column(rows.results, self._scores)).to_numpy(zero_copy_only=False)
            self._score_parts.append(scores.reshape(-1, self._num_head_labels))

    def doubt(self) -> str | None:
        """See `Measure`."""
        return self._numbers.describe_unknown()

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        num_gold, gold, num_predicted, predicted = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        self._num_labels = len(self._numbers.names)
        # each pair of row and label once
        self._gold = np.unique(np.repeat(np.arange(len(ids)), num_gold) * self._num_labels + gold)
        self._predicted = np.unique(np.repeat(np.arange(len(ids)), num_predicted) * self._num_labels + predicted)
        self._right = np.intersect1d(self._gold, self._predicted, assume_unique=True)
        counts = [self._counts(pairs, len(ids)) for pairs in (self._right, self._predicted, self._gold)]
        self._offsets = [cumulative_lengths(count) for count in counts]
        self._is_exact = (counts[0] == counts[1]) & (counts[0] == counts[2])
        return ids, langs

    def _counts(self, pairs: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
        return np.bincount(pairs // self._num_labels, minlength=num_rows)

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3 * self._num_labels + 2

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        index, row, column = np.arange(len(rows)), list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        for i, pairs in enumerate((self._right, self._predicted, self._gold)):
            row.append(np.repeat(index, np.diff(self._offsets[i])[rows]))
            column.append(i * self._num_labels + pairs[ragged_positions(self._offsets[i], rows)] % self._num_labels)
        row += [index[self._is_exact[rows]], index]
        column += [np.full(len(row[3]), self.num_sums - 2), np.full(len(rows), self.num_sums - 1)]
        columns = np.concatenate(column)
        return Entries(np.concatenate(row), columns, np.ones(len(columns)))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        micro, macro = micro_scores(sums, self._num_labels)[2], macro_f1(sums, self._num_labels)
        return np.stack([ratio(sums[..., -2], sums[..., -1]), micro, macro], -1)

    def decisions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `Measure`."""
        return self._is_exact[rows]

    def confidences(self, rows: NDArray[np.int64]) -> Confidences | None:
        """Return the scores of all labels of the head, if the output has them."""
        if not self._score_parts:
            return None
        scores_NC = np.concatenate(self._score_parts)[rows]
        pairs = rows[:, None] * self._num_labels + np.arange(self._num_head_labels)
        return Confidences(scores_NC.reshape(-1), np.isin(pairs, self._gold).reshape(-1))
