import copy
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.job.job import Job

Settings = dict[str, Any]


@pytest.fixture(scope="session")
def metrics_port() -> int:
    """Find a free port, on which `cluster` serves its metrics."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def cluster(metrics_port: int) -> Iterator[None]:
    """Start one Ray for all tests, with 4 CPUs and 2 nominal GPUs, so that stages are placed as on a real cluster."""
    import ray

    from pipelines.job.sections import ComputeSettings
    from pipelines.run.cluster.ray_session import ray_session

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        patch.setenv("XLM_SIMULATED_GPUS", "1")
        patch.setenv("RAY_metrics_report_interval_ms", "1000")  # instead of 10 s
        start = ray.init
        wanted = {"num_cpus": 4, "num_gpus": 2, "_metrics_export_port": metrics_port}
        patch.setattr(ray, "init", lambda **options: start(**{**options, **wanted}))
        for name in ("few_processes", "one_node"):  # with all processes of Ray, as on a cluster
            patch.setattr(sys.modules[ray_session.__module__], name, nullcontext)
        with ray_session(ComputeSettings(object_store_mb=200)):
            patch.setattr(ray, "init", start)
            yield


@pytest.fixture
def make_job(demo: Path, tmp_path: Path) -> Callable[..., Job]:
    """Return a function that makes a job over the demo's corpus; arguments named `section__setting` change settings."""

    def make(**changes: Any) -> Job:
        spec: Settings = copy.deepcopy(yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8")))
        spec["output"]["path"] = str(tmp_path / "out")
        spec["compute"] = {"tokenizers": 1, "models": 1}
        for name, value in changes.items():
            section, _, setting = name.partition("__")
            if not setting:
                spec[section] = value
            elif value is None:
                spec[section].pop(setting, None)
            else:
                spec.setdefault(section, {})[setting] = value
        return Job.model_validate(spec)

    return make
