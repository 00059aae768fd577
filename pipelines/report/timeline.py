"""The speed of a run over time, in a bounded number of intervals, whatever the length of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.output import ShardRecord

STAGES = ("read", "identify", "tokenize", "infer", "write")
OPTIONAL_STAGES = {"identify"}  # only in jobs that detect languages

_MAX_INTERVALS = 120
_COUNTS = ("rows_in", "tokens", *(f"{stage}_s" for stage in STAGES))


class Timeline:
    """Sums the counts of finished shards by the time at which they finished.

    If a run exceeds the last interval, neighbouring intervals are merged, so that each is twice as long.
    """

    def __init__(self):
        self._interval_s = 1.0
        self._sums: list[list[float]] = []

    def add(self, elapsed_s: float, record: ShardRecord) -> None:
        """Add a shard that finished so many seconds after the run began."""
        while elapsed_s >= self._interval_s * _MAX_INTERVALS:
            pairs = [self._sums[i : i + 2] for i in range(0, len(self._sums), 2)]
            self._sums = [[sum(values) for values in zip(*pair, strict=True)] for pair in pairs]
            self._interval_s *= 2
        index = int(elapsed_s / self._interval_s)
        self._sums += [[0.0] * len(_COUNTS) for _ in range(index + 1 - len(self._sums))]
        for i, name in enumerate(_COUNTS):
            self._sums[index][i] += getattr(record, name)

    def to_json(self) -> dict[str, Any]:
        """Return the length of an interval, and for each interval the counts of the shards that finished in it."""
        columns = zip(*self._sums, strict=True) if self._sums else ([] for _ in _COUNTS)
        return {
            "interval_s": self._interval_s,
            **{name: [round(value, 3) for value in values] for name, values in zip(_COUNTS, columns, strict=True)},
        }
