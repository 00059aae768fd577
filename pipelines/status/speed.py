"""The speed of a run and the time that it needs for its remaining rows, from the times of its commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.output import Commit


class Speed(NamedTuple):
    """The speed of a run.

    Attributes:
        tokens_per_s: tokens fed to the model per second, since the run began to compute; None if there are none.
        seconds_left: estimated time for the remaining rows; None before the second commit.
    """

    tokens_per_s: float | None = None
    seconds_left: float | None = None


def measure_speed(commits: Sequence[Commit], started_s: float, until_s: float, rows_left: int) -> Speed:
    """Measure the speed of a run.

    Args:
        commits: the commits of the output, the earliest first; those before `started_s` are of earlier runs.
        started_s: when the run began to compute, in seconds since the epoch.
        until_s: the current time, or when the run ended.
        rows_left: rows that the run still has to process.
    """
    commits = [commit for commit in commits if commit.time_s > started_s]
    if not commits or until_s <= started_s:
        return Speed()
    num_tokens = sum(record.tokens for commit in commits for record in commit.records)
    tokens_per_s = num_tokens / (until_s - started_s) if num_tokens else None
    # Ray and the models start before the first commit, so the time left is estimated from later ones.
    first, *later = commits
    num_rows = sum(record.rows_read for commit in later for record in commit.records)
    left = (until_s - first.time_s) / num_rows * rows_left if num_rows else None
    return Speed(tokens_per_s, left)
