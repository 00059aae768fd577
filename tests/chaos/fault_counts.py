"""Count injected faults and the outcomes of the runs after them."""

from typing import NamedTuple


class FaultCounts(NamedTuple):
    """The counts of one fault, or of a series of faults.

    Attributes:
        num_faults: faults that were injected and had an effect.
        num_points: different faults among them.
        num_runs: runs that resumed after a fault.
        num_completed: runs among them that gave the output of a run without faults.
        rows_lost: rows that are missing after the last run.
        rows_duplicated: rows that were in the output more than once at any time.
    """

    num_faults: int = 0
    num_points: int = 0
    num_runs: int = 0
    num_completed: int = 0
    rows_lost: int = 0
    rows_duplicated: int = 0

    def __add__(self, other: object) -> "FaultCounts":
        """Add the counts of two series."""
        assert isinstance(other, FaultCounts)
        return FaultCounts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def is_good(self) -> bool:
        """Whether every run completed and no row was lost or duplicated."""
        return self.num_completed == self.num_runs and not self.rows_lost and not self.rows_duplicated
