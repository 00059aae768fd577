"""A watch over the cluster of a run: without its processes or nodes Ray waits for ever, or ends without a word."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from pipelines.errors import RetryableError
from pipelines.ray_internals import draining_node_ids

if TYPE_CHECKING:
    from collections.abc import Generator

_LOOK_EVERY_S = 0.5

# Without a sign of a node for this long, none will come back by itself. The head's death is felt as a call that does
# not return, and 60 s into it Ray ends the process.
_LOST_AFTER_S = 20.0

# Ray's own code may swallow what the main thread is told, so it is told again, for this long.
_LEAVE_WITHIN_S = 10.0

_LOST = signal.SIGUSR1


@contextmanager
def cluster_watch() -> Generator[None]:
    """End the `with` block when the cluster has lost all its nodes, as when a process of a local Ray is killed.

    Ray may start within the block. Must be entered in the main thread. That may be waiting deep within Ray, so a signal
    of our own takes it out of there: Ctrl-C's would not do, which a shell's background jobs ignore. Where even that
    does not help, the process ends with status 1, as Ray's core would end it half a minute later.

    Raises:
        RetryableError: no node is left, or a process of the local Ray is gone.
    """
    ended = threading.Event()
    ours: set[int] = set()
    seen = time.monotonic()

    def look() -> None:
        nonlocal seen
        while not ended.wait(_LOOK_EVERY_S):
            if not ray.is_initialized() or any(node["Alive"] for node in ray.nodes()):
                seen = time.monotonic()

    def judge() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            ours.update(_child_processes("raylet", "gcs_server"))
            if time.monotonic() - seen > _LOST_AFTER_S or not all(map(_lives, ours)):
                end()
                return

    def end() -> None:
        for _ in range(round(_LEAVE_WITHIN_S)):
            signal.pthread_kill(threading.main_thread().ident or 0, _LOST)
            if ended.wait(1.0):
                return
        os._exit(1)

    def leave(*_: object) -> None:
        raise RetryableError("the Ray cluster has lost all its nodes")

    before = signal.signal(_LOST, leave)
    threads = [threading.Thread(target=work, daemon=True) for work in (look, judge)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(1.0)  # a call to Ray while it shuts down can end the process; a lost one hangs
        signal.signal(_LOST, before)


def all_draining() -> bool:
    """Tell whether every node that has CPUs for work is to be taken away, as a spot node is after its notice."""
    draining = draining_node_ids()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return bool(nodes) and all(node in draining for node in nodes)


def _child_processes(*names: str, of: int | None = None) -> list[int]:
    """Find a process's children by name; none where there is no /proc, and then nodes alone are watched."""
    parent = of or os.getpid()
    children = Path(f"/proc/{parent}/task/{parent}/children")
    pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    return [pid for pid in pids if _status(pid)[0] in names]


def _lives(pid: int) -> bool:
    return _status(pid)[1] not in ("Z", "X", "")


def _status(pid: int) -> tuple[str, str]:
    """Give a process's name and state, empty when it is gone."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return "", ""
    return name, rest.split()[0]
