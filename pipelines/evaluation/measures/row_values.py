"""Measures of numbers that each row has: choices, perplexity, and values of a regression.

Shapes: N rows, K sums, V values of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.columns import flatten, list_lengths
from pipelines.evaluation.measures.measure import Confidences, Measure, Metric, mean_of_defined, ratio
from pipelines.evaluation.resampling import Entries
from pipelines.formatting import format_count
from pipelines.rows import is_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Matched
    from pipelines.tasks import LmScoring, MultipleChoice, TextClassification


def dense_entries(values_NK: NDArray[np.float64]) -> Entries:
    """Return the entries of rows that add something to every sum."""
    num_rows, num_sums = values_NK.shape
    row, column = np.divmod(np.arange(num_rows * num_sums), num_sums)
    return Entries(row, column, values_NK.reshape(-1))


class ChoiceAccuracy(Measure):
    """Accuracy of multiple-choice. Gold labels count from 0."""

    metrics = (Metric("accuracy"),)
    gold_names: ClassVar[tuple[str, ...]] = ("label", "choice", "answer", "gold")

    def __init__(self, task: MultipleChoice, schema: pa.Schema):
        self._choice, self._scores = task.columns
        self._parts: list[tuple[NDArray[np.bool_], NDArray[np.float32]]] = []
        self._num_invalid = 0

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._choice, self._scores]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        return None if pa.types.is_integer(field.type) else "integers, the number of the right choice from 0"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        gold, choice = to_column(rows.gold, rows.gold.column_names[0]), to_column(rows.results, self._choice)
        scores = to_column(rows.results, self._scores)
        num_choices = list_lengths(scores)
        gold_numbers = gold.to_numpy(zero_copy_only=False)
        self._num_invalid += int(((gold_numbers < 0) | (gold_numbers >= num_choices)).sum())
        best = np.maximum.reduceat(flatten(scores).to_numpy(), np.cumsum(num_choices) - num_choices)
        self._parts.append((gold_numbers == choice.to_numpy(), best))

    def problem(self) -> str | None:
        """See `Measure`."""
        if not self._num_invalid:
            return None
        return f"the gold label of {format_count(self._num_invalid, 'row')} is not a choice; they must count from 0"

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        self._is_right, self._score = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 2

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        return dense_entries(np.column_stack([self._is_right[rows], np.ones(len(rows))]))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        return ratio(sums[..., :1], sums[..., 1:])

    def decisions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `Measure`."""
        return self._is_right[rows]

    def confidences(self, rows: NDArray[np.int64]) -> Confidences:
        """See `Measure`."""
        return Confidences(self._score[rows], self._is_right[rows])


class Perplexity(Measure):
    """Perplexity of all tokens together, from the log-likelihoods of lm-scoring. It needs no gold labels."""

    metrics = (Metric("perplexity", is_share=False),)
    items: ClassVar[str | None] = "tokens"

    def __init__(self, task: LmScoring, schema: pa.Schema):
        self._tokens, self._log_likelihood, _ = task.columns
        self._parts: list[NDArray[np.float64]] = []

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._tokens, self._log_likelihood]

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        columns = [to_column(rows.results, name).to_numpy(zero_copy_only=False) for name in self.columns]
        self._parts.append(np.column_stack(columns).astype(np.float64))

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        self._values_N2 = np.concatenate(self._parts)
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 2

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        return dense_entries(self._values_N2[rows])

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        with np.errstate(over="ignore"):
            return np.exp(-ratio(sums[..., 1:], sums[..., :1]))

    def num_items(self, sums_K: NDArray[np.float64]) -> int:
        """See `Measure`."""
        return int(sums_K[0])


class Regression(Measure):
    """Mean squared error and correlations of a regression; of several values, their means.

    The intervals of Spearman's correlation keep the ranks that the values have among all rows.
    """

    metrics = (Metric("MSE", is_share=False), Metric("Pearson", is_share=False), Metric("Spearman", is_share=False))
    gold_names: ClassVar[tuple[str, ...]] = ("values", "value", "score", "label", "gold")

    def __init__(self, task: TextClassification, schema: pa.Schema):
        self._values = task.column("values")
        self._parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._num_mismatched = 0

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._values]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        kind = field.type.value_type if is_list(field.type) else field.type
        is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        return None if is_number else "numbers, or lists of numbers"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        gold, values = to_column(rows.gold, rows.gold.column_names[0]), to_column(rows.results, self._values)
        num_values = len(flatten(values)) // len(values)
        lengths = list_lengths(gold) if is_list(gold.type) else np.ones(len(gold), np.int64)
        self._num_mismatched += int((lengths != num_values).sum())
        if self._num_mismatched:
            return
        flat = flatten(gold) if is_list(gold.type) else gold
        arrays = (flat, flatten(values))
        gold_NV, values_NV = (
            array.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, num_values) for array in arrays
        )
        self._parts.append((gold_NV, values_NV))

    def problem(self) -> str | None:
        """See `Measure`."""
        if not self._num_mismatched:
            return None
        return f"{format_count(self._num_mismatched, 'gold label')} with another number of values than the results"

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        self._gold_NV, self._values_NV = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 12 * self._gold_NV.shape[1]

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`. Of each value: the squared error, and products of two numbers and of their ranks."""
        columns: list[NDArray[np.float64]] = []
        for gold, value in zip(self._gold_NV[rows].T, self._values_NV[rows].T, strict=True):
            columns += [(gold - value) ** 2, np.ones(len(rows))]
            for x, y in ((gold, value), (_ranks(gold), _ranks(value))):
                centred_x, centred_y = x - x.mean(), y - y.mean()  # products of large numbers lose digits
                columns += [centred_x, centred_y, centred_x**2, centred_y**2, centred_x * centred_y]
        return dense_entries(np.column_stack(columns))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        error, num, *products = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 12), -1, 0)
        metrics = [ratio(error, num), *(_correlation(num, *products[i : i + 5]) for i in (0, 5))]
        return np.stack([mean_of_defined(metric) for metric in metrics], -1)


def _correlation(
    num: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    xx: NDArray[np.float64],
    yy: NDArray[np.float64],
    xy: NDArray[np.float64],
) -> NDArray[np.float64]:
    variances = np.maximum(num * xx - x**2, 0) * np.maximum(num * yy - y**2, 0)
    return np.where(variances > 0, ratio(num * xy - x * y, np.sqrt(variances)), np.nan)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
