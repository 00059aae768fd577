"""Run shards through the stages on Ray until each is committed or has failed, or the run ends early."""

from __future__ import annotations

import logging
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.flow import build_dataset, stream_results
from pipelines.log import log_event, logger
from pipelines.rows import FailureKind
from pipelines.run.crash_isolation import isolate_crashes
from pipelines.stages import discard

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.output import ShardResult
    from pipelines.rows import PreRejected
    from pipelines.run.commits import Commits
    from pipelines.run.graceful_stop import Stop
    from pipelines.stages import Pools, StageSettings

_CRASHED = "the worker died each time it computed this shard, and the crash could not be narrowed down to a few rows"
_STALLED_ADVICE = (
    "no single rows cause it: set policy.shard_timeout_s above the longest time for a text or a layer of the model, or "
    "lower batch.max_tokens"
)
_EXPLAINED = (FailureKind.FATAL, FailureKind.CLUSTER, FailureKind.NO_SPACE)


class ShardRunner:
    """Computes shards on Ray and commits their results.

    Args:
        settings: the settings of the stages.
        pools: the number of workers of each stage, and their resources.
        commits: receives the results.
        stop: whether the run ends early.
        pre_rejected: rows to reject before they are tokenized; rows that crash their worker are added.
        notify: receives progress messages.
    """

    def __init__(
        self,
        settings: StageSettings,
        pools: Pools,
        commits: Commits,
        stop: Stop,
        pre_rejected: PreRejected,
        notify: Callable[[str], None],
    ):
        self._settings, self._pools, self._commits, self._stop = settings, pools, commits, stop
        self._pre_rejected, self._notify = pre_rejected, notify
        self._stalled: dict[str, str] = {}  # how shards, and slices of them, exceeded the time limit

    def run(self, shards: pa.Table) -> None:
        """Compute and commit shards of the plan; rows that crash their worker are found and rejected."""
        lost = self._compute(shards)
        if len(lost):
            compute = partial(self._compute, isolate=True)
            for shard in isolate_crashes(lost, compute, self._probe, self._stalled, self._pre_rejected, self._notify):
                cause = self._stalled.get(shard)
                error = f"{cause}; {_STALLED_ADVICE}" if cause else _CRASHED
                logger.warning("shard %s: %s", shard, error)
                self._commits.fail(shard, error)

    def _compute(self, shards: pa.Table, *, isolate: bool = False) -> pa.Table:
        """Compute and commit shards, and return those that were lost because a worker died."""
        returned: set[str] = set()
        for shard in shards["shard"].to_pylist():
            self._stalled.pop(shard, None)
        dataset = build_dataset(self._settings, self._pools, shards, self._pre_rejected, isolate=isolate)
        # Otherwise Ray Data keeps running after an error, and logs errors once Ray has shut down.
        with closing(stream_results(dataset)) as results:
            try:
                for result in results:
                    self._take(result, returned)
                    self._commits.take(result)
                    if (limit := self._commits.exceeded) is not None:
                        self._stop.request(limit)
                    if self._stop.is_done(returned | self._stalled.keys()):
                        break
            finally:
                self._commits.append()
        return self._lost(shards, returned)

    def _probe(self, shards: pa.Table) -> set[str]:
        """Compute shards, each alone in its worker, without writing them; return the ids of those that were lost."""
        returned: set[str] = set()
        dataset = build_dataset(self._settings, self._pools, shards, {}, isolate=True, write=discard)
        with closing(stream_results(dataset)) as results:
            for result in results:
                self._take(result, returned)
        return set(self._lost(shards, returned)["shard"].to_pylist())

    def _take(self, result: ShardResult, returned: set[str]) -> None:
        """Add a shard to those that returned, unless a stage exceeded the time limit on it."""
        _log(result)
        self._stop.mark_returned(result.shard)
        if result.failure is not None and result.failure.kind == FailureKind.STALLED:
            self._stalled[result.shard] = result.failure.message
        else:
            returned.add(result.shard)

    def _lost(self, shards: pa.Table, returned: set[str]) -> pa.Table:
        # Once the run ends early, a shard that did not return may simply not have been started.
        stopped = self._stop.reason is not None
        lost = shards.filter(
            pa.array([not stopped and shard not in returned for shard in shards["shard"].to_pylist()], pa.bool_())
        )
        for shard in lost["shard"].to_pylist():
            self._stop.mark_returned(shard)  # it is not in flight any more
        return lost


def _log(result: ShardResult) -> None:
    if (record := result.record) is not None:
        log_event(
            logging.DEBUG,
            "shard",
            shard=record.shard,
            rows=record.rows_out,
            rejected=record.rows_rejected,
            tokens=record.tokens,
            read_s=record.read_s,
            identify_s=record.identify_s,
            tokenize_s=record.tokenize_s,
            infer_s=record.infer_s,
            write_s=record.write_s,
        )
    elif (failure := result.failure) is not None and failure.kind != FailureKind.STOPPED:
        # The default log file has errors only. What ends the run at once is explained by its message.
        level = logging.WARNING if failure.kind in _EXPLAINED else logging.ERROR
        logger.log(level, "shard %s: %s: %s\n%s", result.shard, failure.kind, failure.message, failure.traceback)
