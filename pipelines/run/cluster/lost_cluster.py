"""Detect that a run's cluster is lost: without nodes, or without a process of local Ray, Ray waits forever or exits."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from pipelines.errors import RESUME_HINT, ClusterError
from pipelines.ray_internals import draining_node_ids

if TYPE_CHECKING:
    from collections.abc import Generator

_POLL_NODES_EVERY_S = 0.5

# When the raylet dies, Ray ends the driver without a message as soon as it notices, so look often to be first.
_CHECK_EVERY_S = 0.05

# A node that is not seen for this long does not come back. When the head is lost, calls to it do not return, and Ray
# ends the process after 60 s.
_LOST_AFTER_S = 20.0

# Ray's code may swallow the exception that is raised in the main thread, so it is raised again each second, this often.
_MAX_INTERRUPTS = 10

_INTERRUPT = signal.SIGUSR1
_LOST = "the Ray cluster has lost all its nodes"


@contextmanager
def cluster_watch() -> Generator[None]:
    """End a `with` block when the cluster has lost all its nodes, or local Ray has lost its raylet or GCS server.

    Ray may start within the block. Must be entered in the main thread. The main thread may be waiting deep within Ray,
    so a signal interrupts it. SIGINT is not suitable, because background jobs of a shell ignore it. If the main thread
    cannot be interrupted, the process exits with status 1, as Ray would make it exit half a minute later.

    Raises:
        ClusterError: the cluster is lost.
    """
    ended = threading.Event()
    ray_processes: set[int] = set()
    last_seen = time.monotonic()

    def poll_nodes() -> None:
        nonlocal last_seen
        while not ended.wait(_POLL_NODES_EVERY_S):
            if not ray.is_initialized() or any(node["Alive"] for node in ray.nodes()):
                last_seen = time.monotonic()

    # A thread of its own, because the calls of `poll_nodes` may never return.
    def check() -> None:
        is_starting = True  # a search takes a millisecond for each 20 threads of this process
        while not ended.wait(_CHECK_EVERY_S):
            if is_starting:
                is_starting = not ray.is_initialized()
                ray_processes.update(find_child_processes("raylet", "gcs_server"))
            if time.monotonic() - last_seen > _LOST_AFTER_S or not all(map(is_alive, ray_processes)):
                interrupt_main_thread()
                return

    def interrupt_main_thread() -> None:
        for _ in range(_MAX_INTERRUPTS):
            signal.pthread_kill(threading.main_thread().ident or 0, _INTERRUPT)
            if ended.wait(1.0):
                return
        os.write(2, f"xlm: {_LOST}; {RESUME_HINT}\n".encode())
        os._exit(1)

    def raise_lost(*_: object) -> None:
        raise ClusterError(_LOST)

    handler = signal.signal(_INTERRUPT, raise_lost)
    threads = [threading.Thread(target=target, daemon=True) for target in (poll_nodes, check)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(1.0)  # a thread that calls Ray while it shuts down can end the process; a stuck one is left
        signal.signal(_INTERRUPT, handler)


def find_removal() -> str | None:
    """Return why a run must end soon, if it must: its driver's node, or all nodes with CPUs, are about to be removed.

    Spot nodes are, after their notice, and on Kubernetes any node whose pod is deleted or evicted.
    """
    draining = draining_node_ids()
    if not draining:
        return None
    if ray.get_runtime_context().get_node_id() in draining:
        return "the node of the driver is about to be removed"
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if nodes and all(node in draining for node in nodes):
        return "all nodes of the cluster are about to be removed"
    return None


def find_child_processes(*names: str, parent: int | None = None) -> list[int]:
    """Find the child processes of a process by name.

    Args:
        names: names of programs; all programs by default.
        parent: the process; this one by default.

    Returns:
        Process ids; none on systems without /proc.
    """
    parent = parent or os.getpid()
    pids: list[int] = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):  # one list for each thread of the parent
        try:
            pids += map(int, children.read_text().split())
        except OSError:  # the thread has ended
            continue
    return [pid for pid in pids if not names or _name_and_state(pid)[0] in names]


def is_alive(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    return _name_and_state(pid)[1] not in ("Z", "X", "")


def _name_and_state(pid: int) -> tuple[str, str]:
    """Read a process's name and one-letter state; both empty if it does not exist."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return "", ""
    return name, rest.split()[0]
