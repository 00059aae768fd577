"""`_xlm/run.json`: what the last run says about itself. It is only shown; no run depends on it."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from pipelines.output import RUN_FILE

if TYPE_CHECKING:
    from pipelines.output import Holder, Output

# A failing store fails every shard with the same error, so the first errors are enough.
_MAX_ERRORS = 50


@dataclass(frozen=True)
class RunDescription:
    """The content of the file.

    Attributes:
        process: the run's process, as in its lock.
        locked_s: when it acquired the lock, which identifies the run. All times are in seconds since the epoch, by the
            run's clock.
        started_s: when it began to compute.
        ended_s: when it ended; None while it runs, or if it ended without a report.
        status: how it ended, as in `Commits.status`; None like `ended_s`.
        rows_pruned: rows of the corpus that are not in the plan, because statistics show that the filter drops them.
        num_failed: number of failed shards.
        rows_failed: number of their rows.
        failed: their errors by shard, up to 50.
        rows_in_flight: rows that are done of shards that are not.
    """

    process: str
    locked_s: float
    started_s: float
    ended_s: float | None = None
    status: str | None = None
    rows_pruned: int = 0
    num_failed: int = 0
    rows_failed: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    rows_in_flight: int = 0


class RunFile:
    """Writes the file for the run that holds the lock of an output.

    Args:
        output: the output.
        holder: the run, as the holder of the lock.
        started_s, rows_pruned: as in `RunDescription`.
    """

    def __init__(self, output: Output, holder: Holder, started_s: float, rows_pruned: int = 0):
        self._file = output.bookkeeping / RUN_FILE
        self._run = RunDescription(holder.process, holder.since_s, started_s, rows_pruned=rows_pruned)
        self.is_changed = True
        self._changing, self._writing = threading.Lock(), threading.Lock()

    def add_failed(self, shard: str, error: str, num_rows: int) -> None:
        """Add a failed shard. The file is not written."""
        with self._changing:
            run = self._run
            failed = {**run.failed, shard: error} if len(run.failed) < _MAX_ERRORS else run.failed
            rows_failed = run.rows_failed + num_rows
            self._run = replace(run, num_failed=run.num_failed + 1, rows_failed=rows_failed, failed=failed)
            self.is_changed = True

    def set_in_flight(self, num_rows: int) -> None:
        """Set how many rows of shards in flight are done. The file is not written. May be called by any thread."""
        with self._changing:
            if num_rows != self._run.rows_in_flight:
                self._run = replace(self._run, rows_in_flight=num_rows)
                self.is_changed = True

    def end(self, status: str, ended_s: float) -> None:
        """Set how and when the run ended. The file is not written."""
        self._run = replace(self._run, status=status, ended_s=ended_s, rows_in_flight=0)
        self.is_changed = True

    def write(self) -> None:
        """Write the file. May be called by any thread; the last one writes the last content."""
        with self._writing:
            self.is_changed = False  # before the content is read, because another thread may change it
            self._file.put((json.dumps(asdict(self._run), indent=2, ensure_ascii=False) + "\n").encode())


def read_run(output: Output) -> RunDescription | None:
    """Read what the last run says about itself; None if there is no file, or it is not valid."""
    try:
        return TypeAdapter(RunDescription).validate_json((output.bookkeeping / RUN_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
