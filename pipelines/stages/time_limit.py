"""An end to work that hangs: its process dies, and what waits for it can go on elsewhere."""

from __future__ import annotations

import faulthandler
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_STDERR = 2  # by number: the watching thread writes past Python, whatever sys.stderr is
_LEAST_S = 60.0  # a machine under load needs seconds even for one row

_armed = threading.Lock()


@dataclass(frozen=True)
class ShardLimit:
    """How long a stage may work on a shard.

    A shard of fewer rows gets less, so that halving one again and again, in search of a row that hangs, takes about as
    long as trying it once.

    Attributes:
        timeout_s: for a whole shard, and the most that any gets.
        rows_per_shard: how many rows a whole shard has.
    """

    timeout_s: float
    rows_per_shard: int

    def seconds(self, num_rows: int) -> float:
        """Give the limit of a shard of so many rows: its part of `timeout_s`, and a minute besides."""
        return min(self.timeout_s, _LEAST_S + self.timeout_s * num_rows / self.rows_per_shard)


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """End the process with status 1 if the `with` block does not end in time.

    Neither an exception nor a signal handler would do: Python runs both only between its own instructions, and a
    regular expression, a tokenizer's C++ or a GPU kernel may never get there. The watch is kept by a thread of the
    interpreter that needs no GIL. It first writes where each thread stands, by files and functions, to standard error;
    of the values in them it says nothing.

    Args:
        seconds: above 0. There is one watch for the whole process, so blocks must not overlap.
    """
    if not _armed.acquire(blocking=False):
        raise AssertionError("a time limit within another: there is one for the whole process")
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    finally:
        _armed.release()
