"""The signal by which a run that ends early keeps its workers from starting further shards.

The signal and the shards that workers have started are keys in the cluster's key-value store. This module is the
workers' side; `pipelines.run.graceful_stop` is the driver's.
"""

from __future__ import annotations

import ray

from pipelines.ray_internals import has_key, put_key


def begin(shard: str) -> bool:
    """Register a shard as in flight, and return whether the worker may start it."""
    if not ray.is_initialized():
        return True
    # Register before asking: the driver lists the shards in flight after it has set the signal, so it misses none.
    put_key(in_flight_key(shard))
    return not stop_requested()


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
