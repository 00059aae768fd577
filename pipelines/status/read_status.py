"""Read the status of a job from its output."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipelines.formatting import format_time
from pipelines.job import parse_policy
from pipelines.output import COMMITTED, describe_too_many_rejected, find_holder, retry_if_replaced
from pipelines.status.run_file import RunDescription, read_run
from pipelines.status.speed import Speed, measure_speed

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.job import PolicySettings
    from pipelines.output import Holder, Output, Records, Totals

State = Literal["preparing", "running", "complete", "stopped", "ended"]


@dataclass(frozen=True)
class Status:
    """How a job is going.

    Attributes:
        name: the job's name; None before its first run has begun to compute.
        state: "preparing": a run holds the lock, and has not begun to compute. "running": it computes. "complete":
            every planned shard is done. "stopped": the last run ended without a report, for example because it was
            killed. "ended": the last run ended with a report, and shards are missing; `run.status` has the reason.
        holder: the run that holds the lock; None if there is none.
        run: what the last run that began to compute says about itself; None if there is none.
        shards_planned, rows_planned: shards of the last plan, and their rows before the filter.
        totals: of the committed shards of the plan; None before the first run has begun to compute.
        too_many_rejected: what was rejected, if this is more than the job allows.
        speed: the speed of that run.
    """

    name: str | None
    state: State
    holder: Holder | None
    run: RunDescription | None
    shards_planned: int = 0
    rows_planned: int = 0
    totals: Totals | None = None
    too_many_rejected: str | None = None
    speed: Speed = field(default_factory=Speed)

    @property
    def is_running(self) -> bool:
        """Whether a run holds the lock of the output."""
        return self.state in ("preparing", "running")

    @property
    def rows_pruned(self) -> int:
        """Rows of the corpus that are not in the plan, because statistics show that the filter drops them."""
        return self.run.rows_pruned if self.run else 0

    @property
    def rows_corpus(self) -> int:
        """Rows of the corpus."""
        return self.rows_planned + self.rows_pruned

    @property
    def rows_done(self) -> int:
        """Rows of the corpus that are written, rejected or dropped by the filter."""
        return self.count("rows_read") + self.rows_pruned

    @property
    def rows_in_flight(self) -> int:
        """Rows that are done of shards that are not; they are not among `rows_done`."""
        return self.run.rows_in_flight if self.run and self.state == "running" else 0

    @property
    def rows_filtered(self) -> int:
        """Rows of the corpus that the filter dropped."""
        return self.count("rows_read") - self.count("rows_in") + self.rows_pruned

    @property
    def shards_done(self) -> int:
        """Committed shards of the plan."""
        return self.totals.num_shards if self.totals else 0

    def count(self, name: str) -> int:
        """Add up a count of all committed shards, one of `SHARD_COUNTS`."""
        return self.totals.counts[name] if self.totals else 0

    @property
    def reasons(self) -> dict[str, int]:
        """The number of rejected rows by reason, the most frequent first."""
        return self.totals.reasons if self.totals else {}

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values. Times are in UTC, ISO 8601."""
        holder, run = self.holder, self.run
        return {
            "name": self.name,
            "state": self.state,
            "lock": holder
            and {
                "process": holder.process,
                "since": _iso_time(holder.since_s or None),
                "renewed": _iso_time(holder.renewed_s),
            },
            "run": run
            and {
                "process": run.process,
                "started": _iso_time(run.started_s),
                "ended": _iso_time(run.ended_s),
                "status": run.status,
                "tokens_per_s": self.speed.tokens_per_s and round(self.speed.tokens_per_s, 1),
                "seconds_left": self.speed.seconds_left and round(self.speed.seconds_left, 1),
            },
            "shards": {
                "planned": self.shards_planned,
                "done": self.shards_done,
                "failed": run.num_failed if run else 0,
            },
            "rows": {
                "corpus": self.rows_corpus,
                "done": self.rows_done,
                "in_flight": self.rows_in_flight,
                "written": self.count("rows_out"),
                "rejected": self.count("rows_rejected"),
                "filtered": self.rows_filtered,
            },
            "tokens": self.count("tokens"),
            "rejected": self.reasons,
            "too_many_rejected": self.too_many_rejected,
            "failed": [{"shard": shard, "error": error} for shard, error in run.failed.items()] if run else [],
        }


def read_status(output: Output) -> Status:
    """Read the status of a job. Nothing is written, and a run that holds the lock is not disturbed.

    Raises:
        FatalError: there is no output, or its ledger is damaged.
        RetryableError: the storage failed.
    """
    holder = find_holder(output.bookkeeping)
    job = output.read_existing_job() if holder is None else output.read_job()
    if job is None:
        return Status(None, "preparing", holder, None)
    return retry_if_replaced(
        lambda: build_status(
            job["spec"].get("name"),
            parse_policy(job["spec"]),
            output.read_planned_rows(),
            output.ledger.history(),
            read_run(output),
            holder,
            is_complete=output.is_complete,
            now_s=time.time(),
        )
    )


def build_status(
    name: str | None,
    policy: PolicySettings | None,
    planned: pa.Table,
    history: Records,
    run: RunDescription | None,
    holder: Holder | None,
    *,
    is_complete: bool,
    now_s: float,
) -> Status:
    """Build the status from what was read.

    Args:
        name: the job's name.
        policy: its limits; None if they are not known.
        planned: the shards of the plan and their rows, as in `Output.read_planned_rows`.
        history: the records in the ledger.
        run: what the last run that began to compute says about itself.
        holder: the run that holds the lock.
        is_complete: whether the output is marked as complete.
        now_s: the current time, in seconds since the epoch.
    """
    totals = history.current().select(planned["shard"]).totals()
    state: State
    if holder is not None:
        state = "running" if run is not None and run.locked_s == holder.since_s else "preparing"
    elif is_complete:
        state = "complete"
    else:
        # Before `_SUCCESS`, a run writes that it is complete. If it was killed in between, it is not.
        state = "stopped" if run is None or run.status in (None, "complete") else "ended"
    rows_planned = int(planned["num_rows"].to_numpy().sum())
    rows_left = max(rows_planned - totals.counts["rows_read"] - (run.rows_failed if run else 0), 0)
    too_many_rejected = policy and describe_too_many_rejected(totals, policy, rows_left)
    speed = Speed()
    if run is not None:
        until_s = now_s if state == "running" else run.ended_s or history.column(COMMITTED).max(initial=0) / 1e9
        speed = measure_speed(history, run.started_s, until_s, rows_left)
        if state != "running":
            speed = speed._replace(seconds_left=None)
    return Status(
        name,
        state,
        holder,
        run,
        shards_planned=len(planned),
        rows_planned=rows_planned,
        totals=totals,
        too_many_rejected=too_many_rejected,
        speed=speed,
    )


def _iso_time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)
