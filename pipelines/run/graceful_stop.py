"""Ending a run before its end: shards that were begun are finished, within a grace time, and no other is begun."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import ray

from pipelines.ray_internals import delete_key, delete_keys, list_keys, put_key
from pipelines.run.cluster_watch import all_draining
from pipelines.stages.stop_signal import in_flight_key, run_prefix, stop_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LOOK_EVERY_S = 0.2
_DRAIN_LOOKS_EVERY_S = 5.0


class Stop:
    """Whether a run shall end early, and why.

    Attributes:
        reason: in words for a person; None while the run shall go on.
        in_flight: once workers know of it, the shards that they have begun and may not have told the end of.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.in_flight: set[str] | None = None

    def request(self, reason: str) -> None:
        """Begin no further shard; the first reason stands."""
        self.reason = self.reason or reason

    def count_out(self, shard: str) -> None:
        """Take a shard, that has returned, out of those in flight."""
        if ray.is_initialized():
            delete_key(in_flight_key(shard))

    def is_done(self, returned: set[str]) -> bool:
        """Whether the run is to end, and all shards in flight are among those that have returned."""
        return self.in_flight is not None and self.in_flight <= returned


class _NoGraceLeft(BaseException):
    """Leaves whatever the main thread waits for."""


@contextmanager
def graceful_stop(grace_s: float, tell: Callable[[str], None]) -> Generator[Stop]:
    """Let a `with` block, the work of a run on Ray, be ended early and in order.

    SIGINT, SIGTERM, a cluster of which every node is to be taken away, and `Stop.request` end it alike: workers begin
    no further shard, and the block goes on to take in what they finish. What is left of it after the grace time, or at
    a second signal, is cut off. Must be entered in the main thread.

    Args:
        grace_s: for shards in flight to finish.
        tell: is told why the run ends, and how long it may take.
    """
    stop, ended = Stop(), threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.reason is not None:
            raise _NoGraceLeft
        stop.request("interrupted" if number == signal.SIGINT else "told to stop")

    def watch() -> None:
        looks = 0
        while stop.reason is None:
            if ended.wait(_LOOK_EVERY_S):
                return
            looks += 1
            if looks % round(_DRAIN_LOOKS_EVERY_S / _LOOK_EVERY_S) == 0 and all_draining():
                stop.request("the cluster's nodes are being taken away")
        put_key(stop_key())
        prefix = in_flight_key()
        stop.in_flight = {key.removeprefix(prefix) for key in list_keys(prefix)}
        tell(f"{stop.reason}; finishing the shards in flight, for at most {grace_s:g} s")
        if not ended.wait(grace_s):
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell's background jobs ignore SIGINT, and go on to
            signal.signal(number, on_signal)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stop
    except _NoGraceLeft:
        pass
    finally:
        ended.set()
        watcher.join(_DRAIN_LOOKS_EVERY_S)  # a call to Ray while it shuts down can end the process
        for number, handler in before.items():
            signal.signal(number, handler)
        delete_keys(run_prefix())  # the next run of this process begins anew
