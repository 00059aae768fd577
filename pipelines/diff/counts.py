"""What a comparison of two outputs counts, for one language or for all rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pipelines.results import RowDifferences


@dataclass
class RowCounts:
    """Number of rows by the output that contains them.

    Attributes:
        both: rows in A and in B.
        only_a, only_b: rows in only one of them.
        rejected_in_b: those of `only_a` that B rejected, by reason.
        rejected_in_a: those of `only_b` that A rejected, by reason.
    """

    both: int = 0
    only_a: int = 0
    only_b: int = 0
    rejected_in_b: Counter[str] = field(default_factory=Counter[str])
    rejected_in_a: Counter[str] = field(default_factory=Counter[str])

    @property
    def total(self) -> int:
        """Number of rows in either output."""
        return self.both + self.only_a + self.only_b

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(
            self.both + other.both,
            self.only_a + other.only_a,
            self.only_b + other.only_b,
            self.rejected_in_b + other.rejected_in_b,
            self.rejected_in_a + other.rejected_in_a,
        )


@dataclass
class Tally:
    """How much a column differs, summed over rows in both outputs.

    Attributes:
        rows: number of rows that were compared.
        changed: number of rows in which the value differs.
        unmeasured: number of changed rows without a difference of numbers or a similarity: another label, a list of
            another length, or null in one output.
        changes: for labels and choices, the number of rows by pair of values.
        gap: the largest difference of its numbers.
        gap_id: the id of the row with this difference; None if there is none.
        similarities: for vectors, float32 arrays with a similarity per row; 4 bytes per row.
        min_similarity: the smallest similarity.
        min_similarity_id: the id of the row with the smallest similarity.
    """

    rows: int = 0
    changed: int = 0
    unmeasured: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    gap: float = 0.0
    gap_id: str | None = None
    similarities: list[NDArray[np.float32]] = field(default_factory=list["NDArray[np.float32]"])
    min_similarity: float = np.inf
    min_similarity_id: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether there is no difference at all."""
        return not self.changed and not self.gap

    @property
    def mean_similarity(self) -> float:
        """The mean similarity; NaN without vectors."""
        num_rows = sum(len(some) for some in self.similarities)
        if not num_rows:
            return np.nan
        return sum(float(some.sum(dtype=np.float64)) for some in self.similarities) / num_rows

    @property
    def first_percentile(self) -> float:
        """The first percentile of the similarities, linearly interpolated; NaN without vectors."""
        return float(np.percentile(np.concatenate(self.similarities), 1)) if self.similarities else np.nan

    def add(self, differences: RowDifferences, ids: pa.Array, chosen: NDArray[np.int64]) -> None:
        """Add some of N rows.

        Args:
            differences: of the N rows.
            ids: of the N rows.
            chosen: indices of the rows to add, at least one.
        """
        changed = differences.changed[chosen]
        self.rows += len(chosen)
        self.changed += int(changed.sum())
        self.unmeasured += int((changed & ~differences.is_measured[chosen]).sum())
        if differences.values is not None and changed.any():
            pairs = [side.take(pa.array(chosen[changed])) for side in differences.values]
            counts = pa.table(pairs, ["a", "b"]).group_by(["a", "b"]).aggregate([([], "count_all")])
            self.changes.update({(str(row["a"]), str(row["b"])): row["count_all"] for row in counts.to_pylist()})
        largest = chosen[np.argmax(differences.gap[chosen])]
        if differences.gap[largest] > self.gap:
            self.gap, self.gap_id = float(differences.gap[largest]), ids[int(largest)].as_py()
        if differences.similarity is not None:
            chosen = chosen[~np.isnan(differences.similarity[chosen])]
            if len(chosen):
                some = differences.similarity[chosen]
                self.similarities.append(some)
                if some.min() < self.min_similarity:
                    self.min_similarity = float(some.min())
                    self.min_similarity_id = ids[int(chosen[some.argmin()])].as_py()

    def __add__(self, other: Tally) -> Tally:
        largest = self if self.gap >= other.gap else other
        least_similar = self if self.min_similarity <= other.min_similarity else other
        return Tally(
            self.rows + other.rows,
            self.changed + other.changed,
            self.unmeasured + other.unmeasured,
            self.changes + other.changes,
            largest.gap,
            largest.gap_id,
            self.similarities + other.similarities,
            least_similar.min_similarity,
            least_similar.min_similarity_id,
        )


def split_by_group(groups: NDArray[np.int64]) -> Iterable[tuple[int, NDArray[np.int64]]]:
    """Return each group number that occurs, and the indices of its rows."""
    return [(int(group), np.flatnonzero(groups == group)) for group in np.unique(groups)]
