"""A time limit for work that may hang: the process ends, so that the work can be retried elsewhere."""

from __future__ import annotations

import faulthandler
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_STDERR = 2  # a file descriptor, because the watchdog thread writes without Python's sys.stderr
_MIN_S = 60.0  # a machine under load needs seconds even for one row

_armed = threading.Lock()


@dataclass(frozen=True)
class ShardLimit:
    """How long a stage may work on a shard.

    A smaller shard gets less time, so that searching a shard for a row that hangs, by cutting the shard into ever
    smaller slices, takes about as long as computing the shard once.

    Attributes:
        timeout_s: the limit of a full shard, and the maximum of all.
        rows_per_shard: number of rows of a full shard.
    """

    timeout_s: float
    rows_per_shard: int

    def seconds(self, num_rows: int) -> float:
        """Return the limit of a shard: its share of `timeout_s`, plus a minute."""
        return min(self.timeout_s, _MIN_S + self.timeout_s * num_rows / self.rows_per_shard)


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """End the process with status 1 if the `with` block does not end in time.

    An exception or a signal handler cannot do this: Python runs both only between bytecode instructions, and a regular
    expression, a C++ tokenizer or a GPU kernel may never return to one. `faulthandler` uses a thread that does not need
    the GIL. It first writes the stack of each thread to standard error, as files and functions without values.

    Args:
        seconds: above 0. There is one watchdog per process, so blocks must not overlap.
    """
    if not _armed.acquire(blocking=False):
        raise AssertionError("time limits must not be nested: there is one watchdog per process")
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    finally:
        _armed.release()
