"""Commit the results of shards to the ledger, and compare them with the limits of the job's policy."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

from pipelines.errors import ClusterError, FatalError, NoSpaceError, RetryableError
from pipelines.formatting import format_count
from pipelines.rows import FailureKind

if TYPE_CHECKING:
    from pipelines.job import PolicySettings
    from pipelines.output import Lock, Output, OutputState, Records, ShardRecord, ShardResult
    from pipelines.run.progress import Progress
    from pipelines.run.run_metrics import RunMetrics
    from pipelines.status import RunFile

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# Records are appended in batches, so that each ledger file holds many. A crash loses the pending records. The interval
# is 1/200 of the elapsed time, within these bounds, so a run of a week appends about ten thousand times.
_COMMIT_EVERY_S = (2.0, 60.0)


class Commits:
    """The shards that are done, and those that failed. A shard is done once its record is in the ledger.

    Args:
        output: the job's output.
        lock: the run's lock on the output; checked before each write.
        policy: limits on rejected rows and failed shards.
        state: what the output contains, as compared with the plan.
        progress: counts the results.
        run_file: receives the failed shards.
        metrics: receives committed and failed shards.

    Attributes:
        failed: the error of each shard that failed in this run.
    """

    def __init__(
        self,
        output: Output,
        lock: Lock,
        policy: PolicySettings,
        state: OutputState,
        progress: Progress,
        run_file: RunFile,
        metrics: RunMetrics,
    ):
        self.failed = dict[str, str]()
        self._output, self._lock, self._policy, self._progress = output, lock, policy, progress
        self._run_file, self._metrics = run_file, metrics
        self._plan = state.planned.select(["shard", "num_rows"])
        self._num_rows: int = pc.sum(self._plan["num_rows"]).as_py()  # computed once, because each result needs it
        self._num_rejected = state.recorded.sum("rows_rejected") + sum(r.rows_rejected for r in state.adopted)
        self._precision = state.recorded.precision or next((record.precision for record in state.adopted), None)
        self._num_storage_failures = 0
        self._pending: list[ShardRecord] = []
        self._appended = time.monotonic()
        self._appending = threading.RLock()

    def take(self, result: ShardResult) -> None:
        """Take the result of a shard; its record is appended to the ledger now or with later ones.

        Raises:
            FatalError: an error that all shards would run into, or the lock on the output is lost.
            ClusterError: the workers cannot finish any shard.
            NoSpaceError: a disk is full.
        """
        if result.failure is not None:
            if result.failure.kind == FailureKind.FATAL:
                raise FatalError(result.failure.message)
            if result.failure.kind == FailureKind.CLUSTER:
                raise ClusterError(result.failure.message)
            if result.failure.kind == FailureKind.NO_SPACE:
                raise NoSpaceError(result.failure.message)
            if result.failure.kind in (FailureKind.FAILED, FailureKind.STORAGE):
                self.fail(result.shard, result.failure.message)
                self._num_storage_failures += result.failure.kind == FailureKind.STORAGE
        elif (record := result.record) is not None:
            self._check_precision(record.precision)
            with self._appending:
                self._pending.append(record)
            self._num_rejected += record.rows_rejected
            self._progress.count(record)
        if self._is_due:
            self.append()

    def fail(self, shard: str, error: str) -> None:
        """Mark a shard as failed; the next run retries it."""
        num_rows: int = self._plan["num_rows"][self._plan["shard"].index(shard).as_py()].as_py()
        self.failed[shard] = error
        self._run_file.add_failed(shard, error, num_rows)
        self._metrics.add_failed(num_rows)
        self._progress.count_failed(num_rows)

    def append(self) -> None:
        """Append all pending records to the ledger, and write the failed shards. May be called by any thread."""
        with self._appending:
            if self._pending or self._run_file.is_changed:
                self._lock.check()
            if self._pending:
                self._output.ledger.append(self._pending)
                for record in self._pending:
                    self._metrics.add_committed(record)
                self._pending = []
            if self._run_file.is_changed:
                self._run_file.write()
            self._appended = time.monotonic()

    def publish_in_flight(self, num_rows: int) -> None:
        """Write how many rows of shards in flight are done, and what is pending. May be called by any thread.

        Errors are ignored: the next commit reports them.
        """
        self._run_file.set_in_flight(num_rows)
        if self._is_due:
            with suppress(FatalError, RetryableError, OSError):
                self.append()

    @property
    def _is_due(self) -> bool:
        least_s, most_s = _COMMIT_EVERY_S
        return time.monotonic() - self._appended >= min(max(self._progress.elapsed_s / 200, least_s), most_s)

    @property
    def exceeded(self) -> str | None:
        """The limit of the policy that the run exceeds, even if all remaining shards succeed; None if there is none."""
        if len(self.failed) > self._policy.max_failed_shards:
            limit = self._policy.max_failed_shards
            return f"{format_count(len(self.failed), 'shard')} failed, and policy.max_failed_shards is {limit}"
        if self._num_rejected > self._policy.count_allowed_rejections(self._num_rows):
            limit = self._policy.max_rejected
            return f"{format_count(self._num_rejected, 'row')} rejected, and policy.max_rejected is {limit}"
        return None

    def status(self, done: Records) -> str:
        """Return how the run ended, given the records of all shards that are done.

        It is "complete", "complete except for failed shards", if these are within the limit, "interrupted", "failed
        shards", "storage failed" if no shard failed for another reason, or "too many rejected rows".
        """
        if len(self.failed) > self._policy.max_failed_shards:
            return "storage failed" if self._num_storage_failures == len(self.failed) else "failed shards"
        ended = pa.chunked_array([*done.shards.chunks, pa.array([*self.failed], pa.string())])
        finished: bool = pc.all(pc.is_in(self._plan["shard"], value_set=ended)).as_py()
        # In a run that will be resumed, the remaining rows count too: all of them may be good.
        num_rows = done.sum("rows_in") if finished else self._num_rows
        if self._num_rejected > self._policy.count_allowed_rejections(num_rows):
            return "too many rejected rows"
        if not finished:
            return "interrupted"
        return "complete except for failed shards" if self.failed else "complete"

    def _check_precision(self, precision: str) -> None:
        """Refuse to mix precisions in one output, as when a run resumes on another kind of machine."""
        self._precision = self._precision or precision
        if precision != self._precision:
            raise FatalError(
                f"model.precision: auto is {precision} on this machine, but the output has results in "
                f"{self._precision}; resume on the kind of machine that began the output, or set output.path to a new "
                "directory"
            )
