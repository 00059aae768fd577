"""Nodes join and leave a cluster during a run: no row is lost, and no shard is written twice."""

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

from tests.chaos.workers.ray_processes import find_processes
from tests.chaos.workers.runs import (
    finish_run,
    num_committed,
    result_digests,
    start_run,
    wait_until,
    write_expected_output,
)
from tests.flow.in_process import POOLS

pytestmark = pytest.mark.slow

# Every row occurs three times and has its own shard. The run takes half a minute, so nodes can be lost in the middle.
COPIES = 3
SETTINGS = ("output.rows_per_shard=1", "compute.tokenizers=2", "policy.duplicate_ids=ignore")


class NodeCluster:
    """A Ray cluster on this machine: a head node without CPUs, and nodes with two CPUs and one nominal GPU each."""

    def __init__(self) -> None:
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20},
        )
        self._nodes = []
        self.address = self._cluster.address

    def add_node(self) -> None:
        self._nodes.append(self._cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 * 2**20))

    def drain_oldest(self, notice_s: float) -> None:
        """Drain the oldest node, as a spot machine is drained before it is taken away."""
        self._drain(self._nodes[0].node_id, notice_s)

    def drain_head(self, notice_s: float) -> None:
        """Drain the head, which the driver runs on, as it drains itself when Kubernetes deletes its pod."""
        self._drain(self._cluster.head_node.node_id, notice_s)

    def _drain(self, node_id: str, notice_s: float) -> None:
        deadline_ms = round((time.time() + notice_s) * 1000)
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = GcsClient(address=self._cluster.gcs_address)
        accepted, refusal = client.drain_node(node_id, reason, "taken away", deadline_ms)
        assert accepted, refusal

    def remove_oldest(self) -> None:
        """Remove the oldest node at once, with its processes."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)

    def suspend_oldest(self) -> Callable[[], None]:
        """Suspend the processes of the oldest node, as if it lost its network. Returns a function that resumes them."""
        raylet = self._nodes.pop(0).all_processes["raylet"][0].process.pid
        suspended = [raylet, *find_processes("", raylet)]
        for pid in suspended:
            os.kill(pid, signal.SIGSTOP)

        def resume() -> None:
            for pid in suspended:
                os.kill(pid, signal.SIGCONT)

        return resume

    def kill_head(self) -> None:
        os.kill(self._cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeCluster]:
    # Cluster replaces the session's GCS client. If its head node is lost, that client would end this process.
    monkeypatch.setattr(internal_kv, "global_gcs_client", internal_kv.global_gcs_client)
    monkeypatch.setattr(internal_kv, "_initialized", internal_kv._initialized)
    monkeypatch.setenv("XLM_SIMULATED_GPUS", "1")
    cluster = NodeCluster()
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def job(demo: Path) -> Path:
    return demo / "small.yaml"


@pytest.fixture(scope="module")
def settings(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    corpus = tmp_path_factory.mktemp("corpus")
    for copy in range(COPIES):
        shutil.copytree(demo / "corpus", corpus / str(copy))
    return [f"input.path={corpus}", *SETTINGS]


@pytest.fixture(scope="module")
def expected(job: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_expected_output(job, tmp_path_factory.mktemp("expected") / "out", *settings, pools=POOLS)


@pytest.fixture
def start(nodes: NodeCluster, job: Path, settings: list[str], tmp_path: Path):
    return lambda: start_run(job, tmp_path / "out", *settings, f"compute.address={nodes.address}")


def test_output_is_identical_after_nodes_are_removed_and_added(nodes, start, expected, tmp_path):
    out = tmp_path / "out"
    nodes.add_node()
    nodes.add_node()
    run = start()
    for _ in range(3):
        done = num_committed(out)
        wait_until(lambda done=done: num_committed(out) > done + 5, run)
        nodes.remove_oldest()
        nodes.add_node()
    assert finish_run(run) == (0, "")
    assert result_digests(out) == result_digests(expected)


def test_output_is_identical_after_a_drained_node_is_removed(nodes, start, expected, tmp_path):
    out = tmp_path / "out"
    nodes.add_node()
    nodes.add_node()
    run = start()
    wait_until(lambda: num_committed(out) > 5, run)
    nodes.drain_oldest(notice_s=5)
    time.sleep(5)
    nodes.remove_oldest()
    assert finish_run(run) == (0, "")
    assert result_digests(out) == result_digests(expected)


def check_stopped_in_order(run, out):
    status, errors = finish_run(run, timeout_s=60)
    assert status == 130
    assert errors.endswith("run the same command to resume\n")
    assert not (out / "_SUCCESS").exists()


def test_run_stops_in_order_if_all_nodes_are_drained_and_can_be_resumed(nodes, start, expected, tmp_path):
    out = tmp_path / "out"
    nodes.add_node()
    run = start()
    wait_until(lambda: num_committed(out) > 5, run)
    nodes.drain_oldest(notice_s=30)
    check_stopped_in_order(run, out)
    nodes.remove_oldest()
    nodes.add_node()
    assert finish_run(start()) == (0, "")
    assert result_digests(out) == result_digests(expected)


def test_run_stops_in_order_if_the_node_of_its_driver_is_drained(nodes, start, tmp_path):
    out = tmp_path / "out"
    nodes.add_node()
    run = start()
    wait_until(lambda: num_committed(out) > 5, run)
    nodes.drain_head(notice_s=60)
    check_stopped_in_order(run, out)


def test_writers_of_a_node_that_comes_back_do_not_change_parts(nodes, start, expected, tmp_path):
    """Ray has given up the suspended node, and others have computed its shards."""
    out = tmp_path / "out"
    nodes.add_node()
    run = start()
    wait_until(lambda: num_committed(out) > 5, run)
    nodes.add_node()
    resume = nodes.suspend_oldest()
    assert finish_run(run) == (0, "")
    resume()
    time.sleep(10)
    assert result_digests(out) == result_digests(expected)
    assert not list((out / "_xlm" / "tmp").iterdir())


def test_run_ends_within_a_minute_if_the_head_node_is_lost(nodes, start, tmp_path):
    out = tmp_path / "out"
    nodes.add_node()
    run = start()
    wait_until(lambda: num_committed(out) > 5, run)
    nodes.kill_head()
    status, errors = finish_run(run, timeout_s=60)
    assert status == 1
    assert errors.endswith("what is finished is kept, run the same command to resume\n")
