"""The interface of a measure: what it collects of each row, and the metrics that follow from it.

Shapes: N rows, K sums, M metrics, C labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Matched
    from pipelines.evaluation.resampling import Entries


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: its name.
        is_share: whether it is a share, which is printed as a percentage.
    """

    name: str
    is_share: bool = True


class Confidences(NamedTuple):
    """Scores that are meant as probabilities, and whether what they score is right, both [n]."""

    score: NDArray[np.floating]
    is_right: NDArray[np.bool_]


class Confusion(NamedTuple):
    """How often each label was predicted for each gold label.

    Attributes:
        labels: C names.
        counts: int64 [C, C + 1], by gold label and predicted label; the last column is for no label.
    """

    labels: list[str]
    counts: NDArray[np.int64]


class Measure(ABC):
    """Measures one task: collects the results and gold labels of rows, and computes metrics of sums over rows.

    Attributes:
        metrics: its metrics, the most important one first.
        gold_names: usual names of the column with the gold label, the most usual one first; empty if it needs none.
        items: what `num_items` counts, if that is not rows.
    """

    metrics: tuple[Metric, ...]
    gold_names: ClassVar[tuple[str, ...]] = ()
    items: ClassVar[str | None] = None

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The result columns that it reads."""

    def gold_columns(self, names: list[str]) -> list[str]:
        """Return the columns that it reads in addition to the one with the gold label, of those that exist."""
        return []

    def check_gold(self, field: pa.Field) -> str | None:
        """Return which type the column with the gold label must have, if it has another one."""
        return None

    @abstractmethod
    def add(self, rows: Matched) -> None:
        """Collect rows. The first column of their gold labels is the label."""

    def problem(self) -> str | None:
        """Return why the rows cannot be measured; None if they can."""
        return None

    def doubt(self) -> str | None:
        """Return what is probably wrong with the gold labels; None if nothing is."""
        return None

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """Compute what depends on all rows; returns the ids and languages of what is measured, which may be pairs."""
        return ids, langs

    @property
    @abstractmethod
    def num_sums(self) -> int:
        """Number of sums, K."""

    @abstractmethod
    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """Return what the rows of this index add to the sums. The row of an entry is a position in the index."""

    @abstractmethod
    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metrics: [..., K] to [..., M]. NaN where a metric is not defined."""

    def num_items(self, sums_K: NDArray[np.float64]) -> int | None:
        """Return the number of `items`."""
        return None

    def decisions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return whether each row is right, if the first metric is the share of these rows."""
        return None

    def confidences(self, rows: NDArray[np.int64]) -> Confidences | None:
        """Return the scores of rows; None if there are none."""
        return None

    def confusion(self, rows: NDArray[np.int64]) -> Confusion | None:
        """Return how often each label was predicted for each gold label; None without single labels."""
        return None


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return part / whole


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the last axis without NaN; NaN if there is nothing else."""
    is_defined = ~np.isnan(values)
    return ratio(np.where(is_defined, values, 0).sum(-1), is_defined.sum(-1).astype(np.float64))
