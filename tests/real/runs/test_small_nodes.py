"""A cluster of small nodes: four with two CPUs and two GPUs each. The GPUs are nominal: torch does not see them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from ray.cluster_utils import Cluster
from ray.experimental import internal_kv

from tests.flow.in_process import read_output

NUM_NODES = 4


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        # Cluster replaces the session's GCS client. After the end of the cluster, that client would end this process.
        patch.setattr(internal_kv, "global_gcs_client", internal_kv.global_gcs_client)
        patch.setattr(internal_kv, "_initialized", internal_kv._initialized)
        patch.delenv("XLM_SIMULATED_GPUS", raising=False)
        node = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 80 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        for _ in range(NUM_NODES - 1):
            cluster.add_node(**node)
        yield cluster.address
        cluster.shutdown()


@pytest.fixture
def run(address: str, demo: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the demo's job over 24 rows on the cluster, with pools of default sizes."""
    rows = ds.dataset(demo / "corpus").head(24, filter=ds.field("year") >= 2020)
    pq.write_table(rows, tmp_path / "corpus.parquet", row_group_size=8)

    def run(*settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "small.yaml")]
        paths = (f"input.path={tmp_path}/corpus.parquet", f"output.path={tmp_path}/out")
        for setting in (
            *paths,
            f"compute.address={address}",
            "compute.tokenizers=auto",
            "compute.models=auto",
            *settings,
        ):
            command += ["--set", setting]
        return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)

    return run


def test_workers_are_planned_from_what_single_nodes_have(run, tmp_path):
    ended = run("compute.gpus_per_model=0")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"models: {NUM_NODES} on the CPU" in ended.stdout
    assert len(read_output(str(tmp_path / "out"))) == 24


def test_workers_that_fit_no_node_are_refused(run):
    ended = run("compute.gpus_per_model=4")
    message = "compute.gpus_per_model is 4, but no node of the cluster has more than 2 GPUs; set it lower"
    assert (ended.returncode, ended.stderr) == (2, f"xlm: {message}\n")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU")
def test_gpus_that_torch_does_not_see_are_refused(run):
    ended = run("compute.gpus_per_model=2")
    assert ended.returncode == 2
    assert ended.stderr.startswith("xlm: Ray has assigned GPU 0, 1 of node ")
    assert ended.stderr.endswith("or set compute.gpus_per_model to 0 to use CPUs\n")
    assert ended.stderr.count("\n") == 1
