"""Count faults and what they led to."""

from typing import NamedTuple


class Counts(NamedTuple):
    """What a series of faults came to."""

    faults: int = 0  # injected
    points: int = 0  # different ones
    runs: int = 0  # runs after a fault, that had to complete what it left
    completed: int = 0  # of those, the ones that did
    rows_lost: int = 0
    rows_doubled: int = 0

    def __add__(self, other: object) -> "Counts":
        """Add up what two faults, or two series, came to."""
        assert isinstance(other, Counts)
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))
