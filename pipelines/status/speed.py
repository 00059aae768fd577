"""The speed of a run and the time that it needs for its remaining rows, from the times of its commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipelines.output import COMMITTED

if TYPE_CHECKING:
    from pipelines.output import Records


class Speed(NamedTuple):
    """The speed of a run.

    Attributes:
        tokens_per_s: tokens fed to the model per second, since the run began to compute; None if there are none.
        seconds_left: estimated time for the remaining rows; None before the second commit.
    """

    tokens_per_s: float | None = None
    seconds_left: float | None = None


def measure_speed(history: Records, started_s: float, until_s: float, rows_left: int) -> Speed:
    """Measure the speed of a run.

    Args:
        history: the records of the output; those that were committed before `started_s` are of earlier runs.
        started_s: when the run began to compute, in seconds since the epoch.
        until_s: the current time, or when the run ended.
        rows_left: rows that the run still has to process.
    """
    records = history.filter(history.column(COMMITTED) > started_s * 1e9)
    if not len(records) or until_s <= started_s:
        return Speed()
    num_tokens = records.sum("tokens")
    tokens_per_s = num_tokens / (until_s - started_s) if num_tokens else None
    # Ray and the models start before the first commit, so the time left is estimated from later ones.
    first_ns = records.column(COMMITTED)[0]
    num_rows = records.filter(records.column(COMMITTED) > first_ns).sum("rows_read")
    left = (until_s - first_ns / 1e9) / num_rows * rows_left if num_rows else None
    return Speed(tokens_per_s, left)
