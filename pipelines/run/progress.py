"""Count the rows and tokens of a run, and show the counts: in a line on a terminal, in the log every minute."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ray.exceptions import RayError

from pipelines.formatting import format_count, format_duration
from pipelines.log import announce, log_event
from pipelines.progress_line import ProgressLine
from pipelines.report import RunRecord, Timeline
from pipelines.stages import count_rows_in_flight

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console

    from pipelines.output import ShardRecord

_LOG_EVERY_S = 60.0
_COUNT_EVERY_S = 2.0
_THREAD_ENDS_WITHIN_S = 1.0


class Progress:
    """Counts rows and tokens as shards are committed, and rows of shards in flight, and shows the counts.

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
        self._num_in_flight = 0
        self._started = time.monotonic()
        # When the first rows were counted, and how many: the remaining time is estimated without the startup.
        self._first: tuple[float, int] | None = None

    @contextmanager
    def show(self, publish: Callable[[int], None] = lambda _: None) -> Generator[None]:
        """Show the counts for the duration of a `with` block, and log them every minute, also if none changes.

        Args:
            publish: receives the number of rows that are done in shards in flight, every two seconds.
        """
        ended = threading.Event()

        def count_and_log() -> None:
            logged = time.monotonic()
            while not ended.wait(min(_COUNT_EVERY_S, _LOG_EVERY_S)):
                num_rows = self._num_in_flight
                with suppress(RayError):
                    num_rows = count_rows_in_flight()
                if ended.is_set():  # a call of Ray may return after the end, which does not wait for it
                    return
                self._count_in_flight(num_rows)
                publish(num_rows)
                if time.monotonic() - logged < _LOG_EVERY_S:
                    continue
                logged = time.monotonic()
                if self._console.is_terminal:
                    log_event(logging.INFO, "progress", **self._fields())
                else:
                    announce(self._console, "progress", **self._fields())

        thread = threading.Thread(target=count_and_log, daemon=True)
        thread.start()
        try:
            with self._line.show():
                yield
        finally:
            ended.set()
            thread.join(_THREAD_ENDS_WITHIN_S)  # a thread that calls Ray while it shuts down can end the process
            self._num_in_flight = 0

    def count(self, record: ShardRecord) -> None:
        """Count a shard that is done."""
        self._num_done += record.rows_read
        self._tokens += record.tokens
        self._timeline.add(self.elapsed_s, record)
        self._num_rejected += record.rows_rejected
        self._update(record.rows_read)

    def count_failed(self, num_rows: int) -> None:
        """Count a shard that failed, by its number of rows."""
        self._num_done += num_rows
        self._rows_failed += num_rows
        self._num_failed_shards += 1
        self._update(num_rows)

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

    def _update(self, num_rows: int) -> None:
        self._count_in_flight(max(0, self._num_in_flight - num_rows))

    def _count_in_flight(self, num_rows: int) -> None:
        self._num_in_flight = num_rows
        if self._num_rows_done and self._first is None:
            self._first = (time.monotonic(), self._num_rows_done)

    @property
    def _num_rows_done(self) -> int:
        return self._num_done + self._num_in_flight

    @property
    def _seconds_left(self) -> float | None:
        """Estimated time for the remaining rows; None before the second count, and at the end."""
        num_done = self._num_rows_done
        if self._first is None or not self._first[1] < num_done < self._num_rows:
            return None
        first_time, first_rows = self._first
        return (time.monotonic() - first_time) / (num_done - first_rows) * (self._num_rows - num_done)

    def _fields(self) -> dict[str, object]:
        return {
            "rows": self._num_done,
            "rows_in_flight": self._num_in_flight,
            "rows_planned": self._num_rows,
            "rejected": self._num_rejected,
            "failed_shards": self._num_failed_shards,
            "tokens": self._tokens,
            "elapsed_s": self.elapsed_s,
            "seconds_left": self._seconds_left,
        }

    def _text(self) -> str:
        num_done = self._num_rows_done
        share = num_done / self._num_rows if self._num_rows else 1.0
        fields = [f"{num_done:,} of {format_count(self._num_rows, 'row')} ({share:.0%})"]
        if self._first is None:
            fields.append(f"starting, {format_duration(self.elapsed_s)}")
        if self._tokens:
            fields.append(f"{self._tokens / max(self.elapsed_s, 1e-3):,.0f} tokens/s")
        if (left := self._seconds_left) is not None:
            fields.append(f"{format_duration(left)} left")
        if self._num_rejected:
            fields.append(f"{self._num_rejected:,} rejected")
        if self._num_failed_shards:
            fields.append(format_count(self._num_failed_shards, "failed shard"))
        return "  ".join(fields)
