"""Processes that work for a run die in its midst: its output is that of an undisturbed run, to the byte."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.workers.processes import (
    STAGES,
    end_run,
    hunt,
    processes,
    results,
    start_run,
    undisturbed,
    wait_for,
)

RESUME = "finished shards are kept, run the same command to resume\n"

# Allocates in one process of the tokenize stage until the memory monitor ends it; the next one finds that it did.
HOG = """
import os, sys, threading, time

def eat():
    while "pipelines.stages.tokenize" not in sys.modules:
        time.sleep(0.05)
    try:
        os.close(os.open(os.environ["XLM_TEST_HOG"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    food = []
    while len(food) < 80:
        food.append(bytearray(os.urandom(1 << 20)) * 100)
        time.sleep(0.02)

if any(arg.endswith("default_worker.py") for arg in sys.orig_argv):
    threading.Thread(target=eat, daemon=True).start()
"""


@pytest.fixture(scope="module")
def job(demo: Path) -> Path:
    return demo / "job.yaml"


@pytest.fixture(scope="module")
def whole(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(job, tmp_path_factory.mktemp("undisturbed") / "out")


def test_one_process_of_each_stage_is_killed(job, whole, tmp_path):
    run = start_run(job, tmp_path / "out")
    killed = hunt(run, dict.fromkeys(STAGES, 1), lambda: 0.0)
    assert end_run(run) == (0, "")
    assert killed == dict.fromkeys(STAGES, 1)
    assert results(tmp_path / "out") == results(whole)
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_the_local_ray_loses_a_process_as_it_starts(job, tmp_path):
    """Ray's core would end the driver without a word, or a minute later."""
    run = start_run(job, tmp_path / "out")
    wait_for(lambda: processes("raylet", run.pid), run)
    os.kill(processes("raylet", run.pid)[0], signal.SIGKILL)
    status, errors = end_run(run, within_s=60)
    assert status == 1
    assert errors.startswith("xlm: ")
    assert errors.endswith(RESUME)
    assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "after_s"),
    [
        *(("raylet", after_s) for after_s in (0.0, 1.0, 5.0)),
        *((process, 2.0) for process in ("gcs_server", "ray::DashboardAgent", "ray::RuntimeEnvAgent")),
    ],
)
def test_the_local_ray_loses_a_process_at_any_moment(job, whole, tmp_path, process, after_s):
    """The run ends within a minute, and says how to go on; or it goes on, where Ray does without that process."""
    out = tmp_path / "out"
    run = start_run(job, out)
    wait_for(lambda: processes(process, run.pid), run)
    time.sleep(after_s)
    os.kill(processes(process, run.pid)[0], signal.SIGKILL)
    try:
        status, errors = end_run(run, within_s=60)
    except subprocess.TimeoutExpired:
        pytest.fail("the run hangs")
    if status == 1:
        assert errors.endswith(RESUME)
        assert errors.count("\n") == 1
        assert not (out / "_SUCCESS").exists()
        assert end_run(start_run(job, out)) == (0, "")
    assert results(out) == results(whole)


@pytest.mark.slow
def test_a_process_that_takes_all_memory_is_killed(job, whole, tmp_path):
    """By Ray's memory monitor; the shards that it had are computed again."""
    memory = {line.split()[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    spare = 6 * 2**20  # in KiB: three times what a run takes
    if memory["MemAvailable:"] < 2 * spare:
        pytest.skip("needs 12 GB of free memory")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOG)
    run = start_run(
        job,
        tmp_path / "out",
        PYTHONPATH=str(tmp_path / "site"),
        XLM_TEST_HOG=str(tmp_path / "eaten"),
        RAY_memory_monitor_refresh_ms="50",
        RAY_memory_usage_threshold=f"{1 - (memory['MemAvailable:'] - spare) / memory['MemTotal:']:.3f}",
    )
    assert end_run(run) == (0, "")
    assert (tmp_path / "eaten").exists()
    assert results(tmp_path / "out") == results(whole)
