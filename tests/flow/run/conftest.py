from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ray.data import Dataset

from jobs.job_file.load import load_job
from pipelines.flow import build_dataset
from pipelines.run.execute import run
from tests.command_line import xlm
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import quiet_console

__all__ = ["xlm"]


class DemoRun(NamedTuple):
    """A complete run of the demo's job on Ray.

    Attributes:
        out: its output. Tests change copies of it only.
        operators: the names of the operators that Ray Data executed.
    """

    out: Path
    operators: list[str]


@pytest.fixture(scope="session")
def demo_run(demo: Path, tmp_path_factory: pytest.TempPathFactory, cluster: None) -> DemoRun:
    """Run the demo's job once for all tests."""
    out, datasets = tmp_path_factory.mktemp("undisturbed") / "out", list[Dataset]()

    def build(*args: Any, **options: Any) -> Dataset:
        datasets.append(build_dataset(*args, **options))
        return datasets[-1]

    settings = [f"output.path={out}", "compute.tokenizers=1", "compute.models=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.run.shard_runner.build_dataset", build)
        assert run(load_job(demo / "small.yaml", settings), quiet_console())["status"] == "complete"
    (dataset,) = datasets
    operators = [line for line in dataset.stats().splitlines() if line.startswith("Operator ")]
    return DemoRun(out, [line.split()[2].rstrip(":") for line in operators])


@pytest.fixture(scope="session")
def undisturbed(demo_run: DemoRun) -> Path:
    """Return the output of the demo's job after one complete run on Ray."""
    return demo_run.out


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the stages in this process, for tests of what happens around them."""
    without_ray(monkeypatch)
