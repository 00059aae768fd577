"""The metrics of a run that its driver records."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines import metrics
from pipelines.report import OPTIONAL_STAGES, STAGES

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.output import ShardRecord

_SET_GAUGES_EVERY_S = 5.0


class RunMetrics:
    """Records committed and failed shards.

    Args:
        job: the job's name.
        num_shards: number of shards of the run.
        num_rows: number of their rows.
    """

    def __init__(self, job: str, num_shards: int, num_rows: int):
        self._job, self._shards_left, self._rows_left = job, num_shards, num_rows

    def add_committed(self, record: ShardRecord) -> None:
        """Record a shard whose record is in the ledger."""
        job = self._job
        metrics.SHARDS.record(1, xlm_job=job, result="committed")
        metrics.ROWS_READ.record(record.rows_read, xlm_job=job)
        metrics.ROWS_WRITTEN.record(record.rows_out, xlm_job=job)
        metrics.TOKENS.record(record.tokens, xlm_job=job)
        metrics.OOM_HALVINGS.record(record.oom_halvings, xlm_job=job)
        for reason, num_rows in record.reasons.items():
            metrics.ROWS_REJECTED.record(num_rows, xlm_job=job, reason=reason)
        for stage in STAGES:
            seconds: float = getattr(record, f"{stage}_s")
            if not seconds and stage in OPTIONAL_STAGES:
                continue
            metrics.STAGE_SECONDS.record(seconds, xlm_job=job, stage=stage)
            metrics.SHARD_SECONDS.record(seconds, xlm_job=job, stage=stage)
        self._shards_left -= 1
        self._rows_left -= record.rows_read

    def add_failed(self, num_rows: int) -> None:
        """Record a failed shard, by its number of rows."""
        metrics.SHARDS.record(1, xlm_job=self._job, result="failed")
        self._shards_left -= 1
        self._rows_left -= num_rows

    @contextmanager
    def set_gauges(self) -> Generator[None]:
        """Set the gauges during a `with` block, every few seconds because Ray forgets old values, and at its end."""
        ended = threading.Event()

        def set_gauges() -> None:
            metrics.SHARDS_LEFT.record(self._shards_left, xlm_job=self._job)
            metrics.ROWS_LEFT.record(self._rows_left, xlm_job=self._job)

        def set_regularly() -> None:
            set_gauges()
            while not ended.wait(_SET_GAUGES_EVERY_S):
                set_gauges()

        thread = threading.Thread(target=set_regularly, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            set_gauges()
