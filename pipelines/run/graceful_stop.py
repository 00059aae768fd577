"""End a run early, but gracefully: shards in flight may finish within a grace period, and no other shard is started.

This module is the driver's side; `pipelines.stages.stop_signal` is the workers'.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError

from pipelines.errors import FatalError, RetryableError
from pipelines.ray_internals import delete_key, delete_keys, list_keys, put_key
from pipelines.run.cluster import find_removal
from pipelines.signals import Signals
from pipelines.stages import in_flight_key, run_prefix, stop_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_POLL_EVERY_S = 0.2
_POLLS_PER_DRAIN_CHECK = 25
_WATCHER_ENDS_WITHIN_S = 5.0


class Stop:
    """Whether a run ends early, and why.

    Attributes:
        reason: why the run ends early, as a message for the user; None while it does not.
        grace_is_over: whether the next signal aborts the run, even if it is the first.
        in_flight: the shards that workers had started when the stop signal was set, and that may not have returned;
            None before the signal is set.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.grace_is_over = False
        self.in_flight: set[str] | None = None

    def request(self, reason: str) -> None:
        """Start no further shard. If called again, the first reason is kept."""
        if self.reason is None:
            self.reason = reason

    def mark_returned(self, shard: str) -> None:
        """Remove a shard from those in flight."""
        if ray.is_initialized():
            delete_key(in_flight_key(shard))

    def is_done(self, returned: set[str]) -> bool:
        """Return whether the run ends early, and all shards in flight have returned."""
        return self.in_flight is not None and self.in_flight <= returned


class _AbortRun(KeyboardInterrupt):
    """Raised in the main thread to end the run without waiting for shards in flight."""


@contextmanager
def stop_signals(stop: Stop) -> Generator[None]:
    """Let SIGINT and SIGTERM only request the end of a run, for the length of a `with` block.

    So neither the start of Ray, nor its shutdown, nor the summary of a run is left halfway. A second signal after more
    than a second raises a KeyboardInterrupt. Must be entered in the main thread.
    """
    signals, is_first = Signals(), True

    def on_signal(number: int, _: object) -> None:
        nonlocal is_first
        if stop.grace_is_over or not (signals.is_repeated() or is_first):
            stop.grace_is_over = False
            raise _AbortRun
        is_first = False
        stop.request("interrupted" if number == signal.SIGINT else "terminated")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:  # a shell's background jobs ignore SIGINT, and must keep ignoring it
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def graceful_stop(
    stop: Stop, grace_s: float, notify: Callable[[str], None], commit: Callable[[], None]
) -> Generator[None]:
    """Allow a `with` block, which computes shards on Ray, to end early, but gracefully.

    `Stop.request`, which signals call, and nodes that are about to be removed (`find_removal`) have the same effect:
    workers start no further shard, and the block still receives the results of those in flight. It is aborted after the
    grace period, or at a second signal. Must be entered in the main thread, within `stop_signals`.

    Args:
        stop: tells whether the block ends early.
        grace_s: how long shards in flight may take to finish.
        notify: receives a message with the reason and the grace period.
        commit: commits what has returned. It is called at once, in another thread, because the process may be killed
            before the grace period is over: after 3 s if it is a job of Ray that was not submitted by `xlm submit`.
    """
    ended = threading.Event()

    def watch() -> None:
        num_polls = 0
        while stop.reason is None:
            if ended.wait(_POLL_EVERY_S):
                return
            num_polls += 1
            if num_polls % _POLLS_PER_DRAIN_CHECK == 0 and (reason := find_removal()):
                stop.request(reason)
        prefix = in_flight_key()
        with suppress(RayError):  # the cluster may be stopped at the same time
            put_key(stop_key())
            stop.in_flight = {key.removeprefix(prefix) for key in list_keys(prefix)}
        notify(f"{stop.reason}; finishing the shards in flight, for at most {grace_s:g} s")
        with suppress(FatalError, RetryableError, OSError):  # the next commit reports it
            commit()
        if not ended.wait(grace_s):
            stop.grace_is_over = True
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except _AbortRun:
        pass
    finally:
        ended.set()
        watcher.join(_WATCHER_ENDS_WITHIN_S)  # a thread that calls Ray while it shuts down can end the process
        with suppress(RayError):
            delete_keys(run_prefix())  # the next run of this process starts without a stop signal
