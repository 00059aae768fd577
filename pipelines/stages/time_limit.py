"""A limit on the time without progress: work that hangs ends its process, so that it can be retried elsewhere."""

from __future__ import annotations

import faulthandler
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import StalledError
from pipelines.ray_internals import log_folder

if TYPE_CHECKING:
    from collections.abc import Generator

_STDERR = 2  # a file descriptor, because the watchdog thread writes without Python's sys.stderr
_FRAME = re.compile(r'File "([^"]*)", line (\d+) in')


class _Watchdog:
    """Ends the process unless it is restarted in time. There is one per process."""

    def __init__(self, seconds: float, file: int):
        self._seconds, self._file = seconds, file
        # Restarting takes 60 µs, and a text may take less.
        self._restart_after_s = min(1.0, seconds / 10)
        self.start()

    def start(self) -> None:
        self._started = time.monotonic()
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def restart(self) -> None:
        if time.monotonic() - self._started > self._restart_after_s:
            self.start()


_watchdog: _Watchdog | None = None


@contextmanager
def time_limit(seconds: float, stage: str, shard: str) -> Generator[None]:
    """End the process with status 1 if the `with` block does not call `report_progress` for some time.

    An exception or a signal handler cannot do this: Python runs both only between bytecode instructions, and a regular
    expression, a C++ tokenizer or a GPU kernel may never return to one. `faulthandler` uses a thread that does not need
    the GIL. It first writes the stack of each thread, as files and functions without values: to a file among Ray's logs
    of this node, which tells the next attempt what happened, or without Ray to standard error.

    Args:
        seconds: the limit, above 0.
        stage: which stage works on the shard.
        shard: the shard's id.

    Raises:
        StalledError: an earlier attempt on this node exceeded the limit. The attempt after this error runs again.
    """
    global _watchdog
    if _watchdog is not None:
        raise AssertionError("time limits must not be nested: there is one watchdog per process")
    folder = log_folder()
    record = None if folder is None else folder / f"xlm-stack-{stage}-{shard}.txt"
    if record is not None and record.exists():
        stack = record.read_text(errors="replace")
        record.unlink()
        if stack:  # without a stack, the process died for another reason
            raise StalledError(_describe(stage, seconds, stack), stack)
    file = None if record is None else record.open("w")
    try:
        _watchdog = _Watchdog(seconds, _STDERR if file is None else file.fileno())
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            _watchdog = None
    finally:
        if file is not None and record is not None:
            file.close()
            record.unlink(missing_ok=True)


def report_progress() -> None:
    """Restart the time limit of the enclosing `with` block, if there is one."""
    if _watchdog is not None:
        _watchdog.restart()


def _describe(stage: str, seconds: float, stack: str) -> str:
    # Each thread has a block of frames, the innermost first. Ray runs the stages in a thread of their own, and the
    # passes of a model run in further ones.
    blocks = stack.split("\n\n")
    thread = next((b for where in ("in run_in_thread\n", f"/stages/{stage}.py") for b in blocks if where in b), "")
    frame = _FRAME.search(thread)
    where = f" (at {Path(frame[1]).name}:{frame[2]})" if frame else ""
    return f"no progress for {seconds:g} s in the {stage} stage{where}, the limit of policy.shard_timeout_s"
