"""Detect that no worker of a pool can start because CPUs or GPUs are missing: Ray waits without a message."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import ray

from pipelines.formatting import format_count, format_duration
from pipelines.ray_internals import free_resources, infeasible_requests, living_actors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from pipelines.stages import Pools

_POLL_EVERY_S = 5.0
_NOTIFY_EVERY_S = 60.0

# Cloud providers replace a lost node in less.
_GIVE_UP_AFTER_S = 900.0

# The autoscaler needs some rounds to see the requests, and to find that no node that it can add is large enough.
_ASK_AUTOSCALER_AFTER_S = 20.0


class Need(NamedTuple):
    """What Ray reserves for a worker.

    Attributes:
        worker: what kind of process it is.
        stage: the name of its class.
        cpus, gpus: how many it needs.
    """

    worker: str
    stage: str
    cpus: float
    gpus: float = 0.0

    def fits(self, resources: Mapping[str, float]) -> bool:
        """Return whether a node with these resources has room for the worker."""
        return resources.get("CPU", 0.0) >= self.cpus and resources.get("GPU", 0.0) >= self.gpus

    def is_among(self, requests: Iterable[Mapping[str, float]]) -> bool:
        """Return whether one of these requests for resources is the worker's."""
        return any(
            math.isclose(request.get("CPU", 0.0), self.cpus, abs_tol=1e-4)
            and math.isclose(request.get("GPU", 0.0), self.gpus, abs_tol=1e-4)
            for request in requests
        )

    def describe(self, nodes: Iterable[Mapping[str, float]], free: Iterable[Mapping[str, float]]) -> str:
        """Describe what the worker needs, and what the nodes have and have free."""
        gpus = f" and {format_count(self.gpus, 'GPU')}" if self.gpus else ""
        found = f"the most CPUs of a node are {_largest(nodes, 'CPU')}, free are {_largest(free, 'CPU')}"
        if self.gpus:
            found = f"{found}; the most GPUs of a node are {_largest(nodes, 'GPU')}, free are {_largest(free, 'GPU')}"
        return f"a {self.worker} process needs {format_count(self.cpus, 'CPU')}{gpus}, {found}"


def _largest(nodes: Iterable[Mapping[str, float]], resource: str) -> str:
    return f"{max((node.get(resource, 0.0) for node in nodes), default=0.0):g}"


@contextmanager
def waiting_watch(
    pools: Pools, *, can_grow: bool, notify: Callable[[str], None], end: Callable[[str], None]
) -> Generator[None]:
    """Notify the user while a pool has no worker, because none of its workers fits into the free resources of a node.

    Args:
        pools: the pools, and what their workers need.
        can_grow: whether an autoscaler may add nodes.
        notify: receives a message every minute.
        end: receives a reason to end the run: for a quarter of an hour, no node has been large enough for a worker,
            and none can be added; or the autoscaler reports that no type of node that it can add is.
    """
    ended = threading.Event()

    def watch() -> None:
        began = notified = time.monotonic()
        while not ended.wait(_POLL_EVERY_S):
            need, nodes, free, now = find_waiting(pools), _total_resources(), free_resources(), time.monotonic()
            if need is None or any(map(need.fits, free)):  # the worker is starting
                began = notified = now
            elif now - began > _GIVE_UP_AFTER_S and not can_grow and not any(map(need.fits, nodes)):
                end(f"no node is large enough: {need.describe(nodes, free)}")
                return
            elif can_grow and now - began > _ASK_AUTOSCALER_AFTER_S and need.is_among(infeasible_requests()):
                described = f"{need.describe(nodes, free)}{_advice(need, nodes)}"
                end(f"the autoscaler has no type of node that is large enough: {described}")
                return
            elif now - notified > _NOTIFY_EVERY_S:
                waited = format_duration(now - began)
                notify(f"waiting for resources for {waited}: {need.describe(nodes, free)}{_advice(need, nodes)}")
                notified = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)  # a thread that calls Ray while it shuts down can end the process; a stuck one is left


def _advice(need: Need, nodes: Iterable[Mapping[str, float]]) -> str:
    if need.gpus and not any(node.get("GPU") for node in nodes):
        return "; to run the model on CPUs, set compute.gpus_per_model to 0"
    return ""


def find_waiting(pools: Pools) -> Need | None:
    """Return what the workers of a pool need, if there are some to start and none is on a node."""
    actors = living_actors()
    for need in (
        Need("model", "Infer", pools.model_cpus, pools.model_gpus),
        Need("tokenizer", "Tokenize", pools.tokenizer_cpus),
        Need("identifier", "Identify", pools.identifier_cpus),
    ):
        on_node = [is_on_node for name, is_on_node in actors if f"({need.stage})" in name]
        if on_node and not any(on_node):
            return need
    return None


def _total_resources() -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
