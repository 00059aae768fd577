"""Count the rows and tokens of a run, and show the counts: in a line on a terminal, in the log every minute."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.formatting import format_count, format_duration
from pipelines.log import announce, log_event
from pipelines.progress_line import ProgressLine
from pipelines.report import RunRecord, Timeline

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

    from pipelines.output import ShardRecord

_LOG_EVERY_S = 60.0


class Progress:
    """Counts rows and tokens as shards are committed, and shows the counts.

    Args:
        console: where the line is shown.
        num_rows: rows of the corpus that this run has to process.

    Attributes:
        started_s: when the run began to compute, in seconds since the epoch.
        workers: number of workers of the stages that have a pool, once they start.
    """

    def __init__(self, console: Console, num_rows: int):
        self._console, self._line = console, ProgressLine(console, self._text)
        self._num_rows = num_rows
        self.started_s = time.time()
        self.workers: dict[str, int] = {}
        self._tokens, self._timeline = 0, Timeline()
        self._num_done = self._num_rejected = self._rows_failed = self._num_failed_shards = 0
        self._started = time.monotonic()
        # When the first shard was counted, and its rows: the remaining time is estimated without the startup.
        self._first: tuple[float, int] | None = None

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the counts for the duration of a `with` block, and log them every minute, also if none changes."""
        ended = threading.Event()

        def log_regularly() -> None:
            while not ended.wait(_LOG_EVERY_S):
                if self._console.is_terminal:
                    log_event(logging.INFO, "progress", **self._fields())
                else:
                    announce(self._console, "progress", **self._fields())

        thread = threading.Thread(target=log_regularly, daemon=True)
        thread.start()
        try:
            with self._line.show():
                yield
        finally:
            ended.set()
            thread.join()

    def count(self, record: ShardRecord) -> None:
        """Count a shard that is done."""
        self._num_done += record.rows_read
        self._tokens += record.tokens
        self._timeline.add(self.elapsed_s, record)
        self._num_rejected += record.rows_rejected
        self._update()

    def count_failed(self, num_rows: int) -> None:
        """Count a shard that failed, by its number of rows."""
        self._num_done += num_rows
        self._rows_failed += num_rows
        self._num_failed_shards += 1
        self._update()

    def run_record(self) -> RunRecord:
        """Return what the run did, if it ends now."""
        # by the duration, because a clock may be set during a run
        return RunRecord(
            self.started_s,
            self.started_s + self.elapsed_s,
            self._tokens,
            self._timeline,
            self.workers,
            self._rows_failed,
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    def _update(self) -> None:
        self._first = self._first or (time.monotonic(), self._num_done)

    @property
    def _seconds_left(self) -> float | None:
        """Estimated time for the remaining rows; None before the second shard, and at the end."""
        if self._first is None or not self._first[1] < self._num_done < self._num_rows:
            return None
        first_time, first_rows = self._first
        s_per_row = (time.monotonic() - first_time) / (self._num_done - first_rows)
        return s_per_row * (self._num_rows - self._num_done)

    def _fields(self) -> dict[str, object]:
        return {
            "rows": self._num_done,
            "rows_planned": self._num_rows,
            "rejected": self._num_rejected,
            "failed_shards": self._num_failed_shards,
            "tokens": self._tokens,
            "elapsed_s": self.elapsed_s,
            "seconds_left": self._seconds_left,
        }

    def _text(self) -> str:
        share = self._num_done / self._num_rows if self._num_rows else 1.0
        fields = [f"{self._num_done:,} of {format_count(self._num_rows, 'row')} ({share:.0%})"]
        if self._first is None:
            fields.append(f"starting, {format_duration(self.elapsed_s)}")
        else:
            fields.append(f"{self._tokens / max(self.elapsed_s, 1e-3):,.0f} tokens/s")
            if (left := self._seconds_left) is not None:
                fields.append(f"{format_duration(left)} left")
        if self._num_rejected:
            fields.append(f"{self._num_rejected:,} rejected")
        if self._num_failed_shards:
            fields.append(format_count(self._num_failed_shards, "failed shard"))
        return "  ".join(fields)
