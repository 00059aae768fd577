from pathlib import Path

import pytest

from jobs.job_file.load import load_job
from pipelines.run.execute import run
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import quiet_console


@pytest.fixture(scope="session")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory, cluster: None) -> Path:
    """The output of the demo's job after one complete run on Ray. Tests change copies of it only."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    settings = [f"output.path={out}", "compute.tokenizers=1", "compute.models=1"]
    assert run(load_job(demo / "job.yaml", settings), quiet_console())["status"] == "complete"
    return out


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the stages in this process, for tests of what happens around them."""
    without_ray(monkeypatch)
