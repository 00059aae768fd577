"""What a run has done so far, as the shards' records come in, against what the job's policy allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError
from pipelines.formatting import counted
from pipelines.rows.shard import STOPPED

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.job.job import PolicySpec
    from pipelines.output.directory import Output
    from pipelines.output.lock import Lock
    from pipelines.run.progress import Progress

# Records wait for others, so that files of the ledger hold many; a crash costs the work of those waiting. They wait for
# a two-hundredth of the run so far, within these bounds: a week then leaves ten thousand files.
_COMMIT_EVERY_S = (2.0, 60.0)


class Commits:
    """The shards that are done, and those that failed. A shard is done once its record is in the ledger.

    Attributes:
        done: records by shard, those of earlier runs included.
        failed: why each shard of this run failed that did.
    """

    def __init__(
        self, output: Output, lock: Lock, policy: PolicySpec, plan: pa.Table, done: dict[str, Any], progress: Progress
    ):
        self.done, self.failed = done, dict[str, str]()
        self._output, self._lock, self._policy, self._progress = output, lock, policy, progress
        self._rows: dict[str, int] = dict(zip(plan["shard"].to_pylist(), plan["num_rows"].to_pylist(), strict=True))
        self._num_rows = sum(self._rows.values())  # once: it is asked for with each shard that comes in
        self._rejected = sum(record["rows_rejected"] for record in done.values())
        self._precision: str | None = next((record["precision"] for record in done.values()), None)
        self._waiting: list[dict[str, Any]] = []
        self._appended = time.monotonic()

    def take(self, result: dict[str, Any]) -> None:
        """Take what the write stage says of a shard.

        Raises:
            FatalError: an error that no other shard can escape, or the output's lock is lost.
        """
        record = dict(result)
        error, fatal = record.pop("error"), record.pop("fatal")
        if fatal:
            raise FatalError(error)
        if error == STOPPED:
            return
        if error is not None:
            self.fail(record["shard"], error)
            return
        self._check_precision(record["precision"])
        self._waiting.append(record)
        self._rejected += record["rows_rejected"]
        self._progress.count(record)
        least, most = _COMMIT_EVERY_S
        if time.monotonic() - self._appended >= min(max(self._progress.elapsed_s / 200, least), most):
            self.append()

    def fail(self, shard: str, error: str) -> None:
        """Give up on a shard; the next run tries it again."""
        self.failed[shard] = error
        self._progress.count_failed(self._rows[shard])

    def append(self) -> None:
        """Write the records that wait to the ledger."""
        if self._waiting:
            self._lock.check()
            self._output.ledger.append(self._waiting)
            self.done.update({record["shard"]: record for record in self._waiting})
            self._waiting = []
        self._appended = time.monotonic()

    @property
    def exceeded(self) -> str | None:
        """Which limit of the policy the job cannot keep any more, whatever is to come; None while it can."""
        if len(self.failed) > self._policy.max_failed_shards:
            limit = self._policy.max_failed_shards
            return f"{counted(len(self.failed), 'shard')} failed, and policy.max_failed_shards is {limit}"
        if self._rejected > self._allowed(self._num_rows):
            limit = self._policy.max_rejected
            return f"{counted(self._rejected, 'row')} rejected, and policy.max_rejected is {limit}"
        return None

    @property
    def status(self) -> str:
        """Say how the run ended: complete, interrupted, or beyond a limit of the policy."""
        if len(self.failed) > self._policy.max_failed_shards:
            return "failed shards"
        finished = self._rows.keys() <= self.done.keys() | self.failed.keys()
        # of a run that goes on later, the rows to come count as well: they may all be good
        rows = sum(record["rows_in"] for record in self.done.values()) if finished else self._num_rows
        if self._rejected > self._allowed(rows):
            return "too many rejected rows"
        return "complete" if finished else "interrupted"

    def _allowed(self, rows: int) -> float:
        limit = self._policy.max_rejected
        return limit * rows if isinstance(limit, float) else limit

    def _check_precision(self, precision: str) -> None:
        """Refuse to go on in another precision than the results have that are there, as on another kind of machine."""
        self._precision = self._precision or precision
        if precision != self._precision:
            raise FatalError(
                f"model.precision auto is {precision} on this machine, but the output has results in "
                f"{self._precision}; go on where the run began, or begin a new output"
            )
