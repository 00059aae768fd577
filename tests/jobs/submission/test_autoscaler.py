"""Jobs on clusters whose autoscaler has to add the nodes that they ask for. The GPUs are nominal."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from tests.jobs.submission.ray_head import RayHead

pytestmark = pytest.mark.slow

NODE = {"CPU": 2, "object_store_memory": 80 * 2**20}

# `fake_multinode` itself needs a file that is not in the wheel of Ray.
PROVIDER = {
    "type": "external",
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "gcs_address": "HEAD",
}

VERSION_2 = {
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
}


def autoscaler_config(version: int) -> dict[str, Any]:
    """One CPU node and one GPU node can be added."""
    provider = PROVIDER | ({"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID} if version == 2 else {})
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    lists += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
    return {
        "cluster_name": "fake",
        "max_workers": 2,
        "provider": provider,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "cpu": {"resources": NODE, "node_config": {}, "min_workers": 0, "max_workers": 1},
            "gpu": {"resources": NODE | {"GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
        "head_node_type": "ray.head.default",
        "idle_timeout_minutes": 5,
        "auth": {},
        "file_mounts": {},
        **{name: [] for name in (*lists, "rsync_filter")},
    }


@pytest.fixture(params=[1, 2], scope="module")
def head(request: pytest.FixtureRequest) -> Iterator[RayHead]:
    folder = Path(tempfile.mkdtemp(prefix="xlm-head-", dir="/tmp"))
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "XLM_SIMULATED_GPUS": "1"}
    environment |= VERSION_2 if request.param == 2 else {}
    head = RayHead(folder, num_cpus=1, autoscaler=autoscaler_config(request.param), **environment)
    try:
        head.wait_until_ready()
        yield head
    finally:
        head.stop()  # the fake provider leaves its nodes, which are killed
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def job(demo: Path, tmp_path: Path) -> list[str]:
    rows = ds.dataset(demo / "corpus").head(8, filter=ds.field("year") >= 2020)
    pq.write_table(rows, tmp_path / "corpus.parquet")
    return [
        str(demo / "small.yaml"),
        f"--set=input.path={tmp_path}/corpus.parquet",
        f"--set=output.path={tmp_path}/out",
    ]


def test_gpu_node_is_added_for_a_job(submit, job):
    """The head has a CPU, but the model is not run there."""
    ended = submit(*job)
    assert (ended.status, ended.err) == (0, ""), ended.out
    assert "models: 1 with 1 GPU each" in ended.out


@pytest.mark.parametrize("head", [2], indirect=True)  # version 1 of the autoscaler does not tell, so the job waits
def test_job_that_no_node_can_run_is_ended(submit, job):
    ended = submit(*job, "--set=compute.gpus_per_model=4")
    assert ended.status != 0
    assert "the autoscaler has no type of node that is large enough: a model process needs 0.5 CPUs and 4 GPUs" in (
        ended.out
    )
