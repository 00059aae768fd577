"""Machines come and go under a run that has joined a cluster: nothing is lost, and nothing is done twice."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.experimental import internal_kv

from tests.chaos.workers.processes import end_run, processes, recorded, results, start_run, undisturbed, wait_for

pytestmark = pytest.mark.slow

# Every row is there three times, a shard each: half a minute of work, so that there is a midst to lose a node in.
COPIES = 3
SETTINGS = ("output.rows_per_shard=1", "compute.tokenizers=2", "policy.duplicate_ids=ignore")


class Machines:
    """A cluster on this machine: a head without work, and nodes of two CPUs and a GPU by name."""

    def __init__(self) -> None:
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20},
        )
        self._nodes = []
        self.address = self._cluster.address

    def add(self) -> None:
        self._nodes.append(self._cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 * 2**20))

    def drain(self, within_s: float) -> None:
        """Give the oldest node a spot machine's notice."""
        deadline_ms = round((time.time() + within_s) * 1000)
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = GcsClient(address=self._cluster.gcs_address)
        accepted, why = client.drain_node(self._nodes[0].node_id, reason, "taken away", deadline_ms)
        assert accepted, why

    def remove(self) -> None:
        """Take the oldest node away at once, with all that runs there."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)

    def suspend(self) -> Callable[[], None]:
        """Let the oldest node do nothing, as a machine that is suspended or cut off; gives what wakes it again."""
        raylet = self._nodes.pop(0).all_processes["raylet"][0].process.pid
        suspended = [raylet, *processes("", raylet)]
        for pid in suspended:
            os.kill(pid, signal.SIGSTOP)

        def wake() -> None:
            for pid in suspended:
                os.kill(pid, signal.SIGCONT)

        return wake

    def lose_head(self) -> None:
        os.kill(self._cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    # a cluster takes the place of the session's; left there without its head, it would end this process after a minute
    monkeypatch.setattr(internal_kv, "global_gcs_client", internal_kv.global_gcs_client)
    monkeypatch.setattr(internal_kv, "_initialized", internal_kv._initialized)
    machines = Machines()
    yield machines
    machines.shutdown()


@pytest.fixture(scope="module")
def job(demo: Path) -> Path:
    return demo / "job.yaml"


@pytest.fixture(scope="module")
def settings(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    corpus = tmp_path_factory.mktemp("corpus")
    for copy in range(COPIES):
        shutil.copytree(demo / "corpus", corpus / str(copy))
    return [f"input.path={corpus}", *SETTINGS]


@pytest.fixture(scope="module")
def whole(job: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(job, tmp_path_factory.mktemp("undisturbed") / "out", *settings)


@pytest.fixture
def start(machines: Machines, job: Path, settings: list[str], tmp_path: Path):
    return lambda: start_run(job, tmp_path / "out", *settings, f"compute.address={machines.address}")


def test_nodes_are_removed_and_added(machines, start, whole, tmp_path):
    out = tmp_path / "out"
    machines.add()
    machines.add()
    run = start()
    for _ in range(3):
        done = recorded(out)
        wait_for(lambda done=done: recorded(out) > done + 5, run)
        machines.remove()
        machines.add()
    assert end_run(run) == (0, "")
    assert results(out) == results(whole)


def test_a_node_is_drained(machines, start, whole, tmp_path):
    """A spot machine that has had its notice, and is gone when the notice says: the others do its work."""
    out = tmp_path / "out"
    machines.add()
    machines.add()
    run = start()
    wait_for(lambda: recorded(out) > 5, run)
    machines.drain(within_s=5)
    time.sleep(5)
    machines.remove()
    assert end_run(run) == (0, "")
    assert results(out) == results(whole)


def test_all_nodes_are_drained(machines, start, whole, tmp_path):
    """Then the run ends in order while it can, and the next one, with new nodes, goes on."""
    out = tmp_path / "out"
    machines.add()
    run = start()
    wait_for(lambda: recorded(out) > 5, run)
    machines.drain(within_s=30)
    status, errors = end_run(run, within_s=60)
    assert status == 130
    assert errors.endswith("run the same command to resume\n")
    assert not (out / "_SUCCESS").exists()
    machines.remove()
    machines.add()
    assert end_run(start()) == (0, "")
    assert results(out) == results(whole)


def test_a_node_wakes_that_was_given_up(machines, start, whole, tmp_path):
    """Its writers go on with what others have written since: the parts stay what they are."""
    out = tmp_path / "out"
    machines.add()
    run = start()
    wait_for(lambda: recorded(out) > 5, run)
    machines.add()
    wake = machines.suspend()
    assert end_run(run) == (0, "")
    wake()
    time.sleep(10)
    assert results(out) == results(whole)
    assert not list(out.glob(".*"))


def test_the_head_is_lost(machines, start, whole, tmp_path):
    """The run ends within a minute, and says how to go on."""
    out = tmp_path / "out"
    machines.add()
    run = start()
    wait_for(lambda: recorded(out) > 5, run)
    machines.lose_head()
    status, errors = end_run(run, within_s=60)
    assert status == 1
    assert errors.endswith("finished shards are kept, run the same command to resume\n")
