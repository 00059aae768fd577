"""What a run and its workers tell each other about shards in flight.

Workers register each shard that they start, and report how many of its rows are done. A run that ends early keeps them
from starting further shards. All of this is in keys of the cluster's key-value store. This module is the workers' side,
and counts the rows; `pipelines.run.graceful_stop` is the driver's.
"""

from __future__ import annotations

import time
from contextlib import suppress

import ray
from ray.exceptions import RayError

from pipelines.ray_internals import has_key, list_keys, put_key, read_key

_REPORT_EVERY_S = 2.0


def begin(shard: str) -> bool:
    """Register a shard as in flight, and return whether the worker may start it."""
    if not ray.is_initialized():
        return True
    # Register before asking: the driver lists the shards in flight after it has set the signal, so it misses none.
    put_key(in_flight_key(shard))
    return not stop_requested()


class RowsDone:
    """Reports how many rows of a shard in flight are done, at most every two seconds.

    Args:
        shard: the shard's id.
        num_rows: number of its rows.
    """

    def __init__(self, shard: str, num_rows: int):
        self._shard, self._num_rows, self._reported = shard, num_rows, time.monotonic()

    def report(self, share: float) -> None:
        """Report the share of the shard that is done."""
        if time.monotonic() - self._reported < _REPORT_EVERY_S or not ray.is_initialized():
            return
        self._reported = time.monotonic()
        with suppress(RayError):  # it is only shown
            put_key(in_flight_key(self._shard), int(share * self._num_rows))


def count_rows_in_flight() -> int:
    """Return how many rows of all shards in flight are done."""
    return sum(map(read_key, list_keys(in_flight_key()))) if ray.is_initialized() else 0


def stop_requested() -> bool:
    """Return whether the worker's run is ending early, so that no further shard may be started."""
    return ray.is_initialized() and has_key(stop_key())


def stop_key() -> str:
    """Return the key that exists once the run is ending early."""
    return f"{run_prefix()}stop"


def in_flight_key(shard: str = "") -> str:
    """Return the key of a shard that a worker has started; without a shard, the prefix of all such keys."""
    return f"{run_prefix()}begun/{shard}"


def run_prefix() -> str:
    """Return the prefix of all keys of this driver's runs."""
    return f"xlm/{ray.get_runtime_context().get_job_id()}/"
