"""Workers that wait for resources: messages report what they need and what the nodes have."""

import time

import pytest
import ray

from pipelines.ray_internals import living_actors
from pipelines.run.cluster import waiting_watch
from pipelines.stages.pools import Pools
from tests.flow.run.outputs import wait_until

POOLS = Pools(tokenizers=1, models=1, tokenizer_cpus=0.5, model_cpus=64.0, model_gpus=3.0, model_threads=64)


class Worker:
    """An actor with the name of a model worker of Ray Data."""


Worker.__name__ = Worker.__qualname__ = "MapWorker(MapBatches(Infer))"


@pytest.fixture
def worker(cluster, monkeypatch):
    for name, seconds in (("_POLL_EVERY_S", 0.1), ("_NOTIFY_EVERY_S", 0.5), ("_GIVE_UP_AFTER_S", 2.0)):
        monkeypatch.setattr(f"pipelines.run.cluster.waiting_workers.{name}", seconds)

    def start(pools: Pools):
        return ray.remote(num_cpus=pools.model_cpus, num_gpus=pools.model_gpus)(Worker).remote()

    return start


def test_waiting_workers_are_reported_and_the_run_ends_if_they_fit_no_node(worker):
    messages, reasons = [], []
    with waiting_watch(POOLS, can_grow=False, notify=messages.append, end=reasons.append):
        actor = worker(POOLS)
        wait_until(lambda: reasons)
    need = "a model process needs 64 CPUs and 3 GPUs, the most CPUs of a node are 4"
    assert messages[0].startswith("waiting for resources for ")
    assert need in messages[0]
    assert reasons[0].startswith(f"no node is large enough: {need}")
    ray.kill(actor)


def test_workers_wait_for_nodes_that_an_autoscaler_may_add(worker):
    messages, reasons = [], []
    with waiting_watch(POOLS, can_grow=True, notify=messages.append, end=reasons.append):
        actor = worker(POOLS)
        wait_until(lambda: len(messages) > 6)  # longer than the time after which it would give up
    assert reasons == []
    ray.kill(actor)


def test_workers_that_load_their_model_are_not_reported(worker, monkeypatch):
    """They have their resources already, so there is no room for another one."""
    monkeypatch.setattr(Worker, "__init__", lambda self: time.sleep(3), raising=False)
    pools = Pools(tokenizers=1, models=1, tokenizer_cpus=0.5, model_cpus=3.0, model_gpus=1.0, model_threads=1)
    messages, reasons = [], []
    actor = worker(pools)
    wait_until(lambda: any(is_on_node for name, is_on_node in living_actors() if "Infer" in name))
    with waiting_watch(pools, can_grow=False, notify=messages.append, end=reasons.append):
        ray.get(actor.__ray_ready__.remote())
        time.sleep(0.7)
    assert (messages, reasons) == ([], [])
    ray.kill(actor)
