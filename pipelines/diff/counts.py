"""What a comparison of two outputs counts, for each language and for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pipelines.diff.compare_columns import Measured


@dataclass
class RowCounts:
    """Rows by the output they are in.

    Attributes:
        both: rows that are in A and in B.
        only_a, only_b: rows that are in one.
        rejected_in_b: of `only_a`, those that B rejected, by reason.
        rejected_in_a: of `only_b`, those that A rejected, by reason.
    """

    both: int = 0
    only_a: int = 0
    only_b: int = 0
    rejected_in_b: Counter[str] = field(default_factory=Counter[str])
    rejected_in_a: Counter[str] = field(default_factory=Counter[str])

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
    """How far one column is apart in the rows that both outputs have.

    Attributes:
        rows: how many were compared.
        changed: in how many of them it is another.
        changes: of labels and choices, the two values, and in how many rows.
        gap: the largest difference of its numbers.
        gap_id: the id of the row with it, None where there is no difference.
        similarities: of vectors, float32, in pieces; 4 bytes a row.
        least_id: the id of the row with the least similar vectors.
    """

    rows: int = 0
    changed: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    gap: float = 0.0
    gap_id: str | None = None
    similarities: list[NDArray[np.float32]] = field(default_factory=list["NDArray[np.float32]"])
    least: float = np.inf
    least_id: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether there is no difference at all."""
        return not self.changed and not self.gap

    @property
    def mean(self) -> float:
        """The mean similarity; NaN where there is none."""
        total = sum(len(some) for some in self.similarities)
        return sum(float(some.sum(dtype=np.float64)) for some in self.similarities) / total if total else np.nan

    @property
    def first_percentile(self) -> float:
        """The similarity that 1 % of the rows do not reach, between neighbours by their distance; NaN without any."""
        return float(np.percentile(np.concatenate(self.similarities), 1)) if self.similarities else np.nan

    def add(self, measured: Measured, ids: pa.Array, chosen: NDArray[np.int64]) -> None:
        """Count some of the rows that were measured.

        Args:
            measured: of N rows.
            ids: of the N rows.
            chosen: which rows to count, at least one.
        """
        changed = measured.changed[chosen]
        self.rows += len(chosen)
        self.changed += int(changed.sum())
        if measured.values is not None and changed.any():
            taken = [side.take(pa.array(chosen[changed])) for side in measured.values]
            counts = pa.table(taken, ["a", "b"]).group_by(["a", "b"]).aggregate([([], "count_all")])
            self.changes.update({(str(row["a"]), str(row["b"])): row["count_all"] for row in counts.to_pylist()})
        worst = chosen[np.argmax(measured.gap[chosen])]
        if measured.gap[worst] > self.gap:
            self.gap, self.gap_id = float(measured.gap[worst]), ids[int(worst)].as_py()
        if measured.similarity is not None:
            chosen = chosen[~np.isnan(measured.similarity[chosen])]
            if len(chosen):
                some = measured.similarity[chosen]
                self.similarities.append(some)
                if some.min() < self.least:
                    self.least, self.least_id = float(some.min()), ids[int(chosen[some.argmin()])].as_py()

    def __add__(self, other: Tally) -> Tally:
        gap, least = (self if self.gap >= other.gap else other), (self if self.least <= other.least else other)
        return Tally(
            self.rows + other.rows,
            self.changed + other.changed,
            self.changes + other.changes,
            gap.gap,
            gap.gap_id,
            self.similarities + other.similarities,
            least.least,
            least.least_id,
        )


def by_group(groups: NDArray[np.int64]) -> Iterable[tuple[int, NDArray[np.int64]]]:
    """Give each group that some rows have, and which rows have it."""
    return [(int(group), np.flatnonzero(groups == group)) for group in np.unique(groups)]
