"""Numbers for labels, and the metrics that follow from how often labels are right, predicted and gold.

Shapes: N rows or words, C labels.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.evaluation.measures.measure import Confusion, mean_of_defined, ratio
from pipelines.evaluation.resampling import Entries
from pipelines.formatting import excerpt, format_count
from pipelines.rows import is_text
from xlm_core.errors import format_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_LISTED = 5


class LabelNumbers:
    """Numbers labels: those of the head first, and then labels that only the gold labels have.

    Attributes:
        names: the labels, by number.
        unknown: how often the gold labels have labels that the head does not have.
    """

    def __init__(self, names: list[str]):
        self.names, self._num_known, self.unknown = list(names), len(names), Counter[str]()
        self._numbers = {name: i for i, name in enumerate(names)}

    @classmethod
    def of(cls, field: pa.Field) -> LabelNumbers:
        """Return the labels of the head that wrote a column.

        Raises:
            FatalError: the column has no metadata.
        """
        try:
            return cls(json.loads(field.metadata[b"labels"]))
        except (TypeError, KeyError, ValueError):
            raise FatalError(f"column {field.name} does not name the labels of its head; run the job again") from None

    def encode(self, labels: pa.Array) -> NDArray[np.int64]:
        """Return the number of each label; -1 for null. Integers are numbers of the head's labels."""
        encoded = labels.dictionary_encode()
        codes = [self._number(value) for value in encoded.dictionary.to_pylist()]
        numbers = np.array([*codes, -1], np.int64)[encoded.indices.fill_null(len(codes)).to_numpy()]
        counts = np.bincount(numbers + 1, minlength=len(self.names) + 1)[1:]
        self.unknown.update({self.names[i]: int(counts[i]) for i in range(self._num_known, len(counts)) if counts[i]})
        return numbers

    def _number(self, value: str | int) -> int:
        if isinstance(value, int) and 0 <= value < self._num_known:
            return value
        name = str(value)
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def describe_unknown(self) -> str | None:
        """Describe the labels that the head does not have; None if there are none."""
        if not self.unknown:
            return None
        listed = [f"{excerpt(name, 30)} ({count:,})" for name, count in self.unknown.most_common()]
        known = format_list([excerpt(name, 30) for name in self.names[: self._num_known]], 10)
        return (
            f"the gold labels have {format_count(len(listed), 'label')} that the head does not have: "
            f"{format_list(listed, _MAX_LISTED)}; its labels are {known}"
        )


def is_label(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains labels: their names, or their numbers in the head."""
    return is_text(data_type) or pa.types.is_integer(data_type)


def count_entries(
    row: NDArray[np.int64], gold: NDArray[np.int64], predicted: NDArray[np.int64], num_labels: int
) -> Entries:
    """Return what items with one label each add to 3 C sums: right, predicted and gold, by label.

    Args:
        row: [n], the row of each item.
        gold: [n]
        predicted: [n], -1 for no label.
        num_labels: C.
    """
    is_right, has_label = gold == predicted, predicted >= 0
    column = np.concatenate([gold[is_right], num_labels + predicted[has_label], 2 * num_labels + gold])
    return Entries(np.concatenate([row[is_right], row[has_label], row]), column, np.ones(len(column)))


def accuracy(sums: NDArray[np.float64], num_labels: int) -> NDArray[np.float64]:
    """Return the share of right items from 3 C sums."""
    counts = _counts(sums, num_labels)
    return ratio(counts[..., 0, :].sum(-1), counts[..., 2, :].sum(-1))


def macro_f1(sums: NDArray[np.float64], num_labels: int) -> NDArray[np.float64]:
    """Return the mean F1 of the labels that are predicted or gold, from 3 C sums."""
    right, predicted, gold = np.moveaxis(_counts(sums, num_labels), -2, 0)
    return mean_of_defined(ratio(2 * right, predicted + gold))


def micro_scores(sums: NDArray[np.float64], num_labels: int) -> list[NDArray[np.float64]]:
    """Return precision, recall and F1 over all labels, from 3 C sums. Precision is 0 if nothing is predicted."""
    right, predicted, gold = np.moveaxis(_counts(sums, num_labels).sum(-1), -1, 0)
    precision, recall = (np.where((predicted + gold > 0) & (n == 0), 0.0, ratio(right, n)) for n in (predicted, gold))
    return [precision, recall, ratio(2 * right, predicted + gold)]


def count_confusion(labels: list[str], gold: NDArray[np.int64], predicted: NDArray[np.int64]) -> Confusion:
    """Count pairs of gold and predicted labels; -1 is no label."""
    num_labels = len(labels)
    column = np.where(predicted < 0, num_labels, predicted)
    counts = np.bincount(gold * (num_labels + 1) + column, minlength=num_labels * (num_labels + 1))
    return Confusion(labels, counts.reshape(num_labels, num_labels + 1))


def _counts(sums: NDArray[np.float64], num_labels: int) -> NDArray[np.float64]:
    return sums[..., : 3 * num_labels].reshape(*sums.shape[:-1], 3, num_labels)
