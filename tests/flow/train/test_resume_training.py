"""Trainings that are killed at any moment, and resumed by the same command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from jobs.job_file import dump_job
from pipelines.training_job import TrainingJob
from tests.processes import MARKER, find_processes
from xlm_core.training import read_values

pytestmark = pytest.mark.long

Make = Callable[..., Any]
STEPS = 60


def run_locally(job: TrainingJob) -> TrainingJob:
    """Return the training, on a Ray of its own."""
    compute = job.compute.model_copy(update={"address": "local", "object_store_mb": 100})
    return job.model_copy(update={"compute": compute})


def start(job: TrainingJob, folder: Path) -> subprocess.Popen[bytes]:
    """Start `xlm train` in a process group of its own."""
    file = folder / f"{Path(job.output.path).name}.yaml"
    file.write_text(dump_job(job), encoding="utf-8")
    environment = os.environ | {MARKER: str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "jobs.cli", "train", str(file)]
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def newest_step(job: TrainingJob) -> int:
    names = [path.name for path in Path(job.output.path).glob("_xlm/states/step-*.safetensors")]
    return max((int(name[5:17]) for name in names), default=0)


def kill_after(job: TrainingJob, step: int, folder: Path) -> None:
    """Run a training, and kill all of its processes once it has saved a step."""
    process = start(job, folder)
    while newest_step(job) < step:
        assert process.poll() is None, process.communicate()[0].decode()
        time.sleep(0.02)
    for pid in find_processes(str(folder)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.communicate()


def finish(job: TrainingJob, folder: Path) -> dict[str, Any]:
    process = start(job, folder)
    output = process.communicate()[0].decode()
    assert process.returncode == 0, output
    return json.loads((Path(job.output.path) / "_xlm/report.json").read_text())


def losses(job: TrainingJob) -> dict[str, list[float]]:
    newest = max(Path(job.output.path).glob("_xlm/states/step-*"))
    curve = read_values(newest.read_bytes())["more"]["curve"]
    return {name: [point["loss"] for point in points] for name, points in curve.items()}


@pytest.mark.parametrize(
    "kills",
    [pytest.param([20], id="once"), pytest.param([5, 25, 45], id="three times", marks=pytest.mark.slow)],
)
def test_killed_training_ends_with_the_same_losses(
    make_training: Make, objective: Make, tmp_path: Path, kills: list[int]
):
    specs = [objective("token-classification"), objective("masked-language-modeling")]
    jobs = [run_locally(make_training(*specs, steps=STEPS, save_every_s=0.05, average=0.99)) for _ in range(2)]
    for step in kills:
        kill_after(jobs[0], step, tmp_path)
        assert newest_step(jobs[0]) < STEPS
    reports = [finish(job, tmp_path) for job in jobs]
    killed, undisturbed = (losses(job) for job in jobs)
    assert sum(map(len, killed.values())) == STEPS
    assert killed == undisturbed
    for one, other in zip(*(report["objectives"] for report in reports), strict=True):
        assert [{**e, "ended_s": 0} for e in one["evaluations"]] == [{**e, "ended_s": 0} for e in other["evaluations"]]
        assert len(one["curve"]) == one["steps"]
    ours, theirs = (load_file(Path(job.output.path) / "model/model.safetensors") for job in jobs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_interrupted_training_saves_its_state(make_training: Make, objective: Make, tmp_path: Path):
    job = make_training(objective("text-classification"), steps=2_000, save_every_s=1_000)
    job = job.model_copy(
        update={"compute": job.compute.model_copy(update={"address": "local", "object_store_mb": 100})}
    )
    process = start(job, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if b"step" in line:
            break
    process.send_signal(signal.SIGINT)
    output = process.communicate()[0].decode()
    assert process.returncode == 130, output
    assert "run the same command to resume" in output
    assert 0 < newest_step(job) < 2_000
