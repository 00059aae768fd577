"""Processes of local Ray are killed during a run: the output is identical to that of a run without faults."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.workers.ray_processes import find_processes
from tests.chaos.workers.runs import finish_run, result_digests, start_run, wait_until, write_expected_output

# The folder of sitecustomize.py, which injects faults into Ray's worker processes.
SITE = str(Path(__file__).parent)
STAGES = ["infer", "read", "tokenize", "write"]
RESUME = "what is finished is kept, run the same command to resume\n"


@pytest.fixture(scope="module")
def job(demo: Path) -> Path:
    return demo / "small.yaml"


@pytest.fixture(scope="module")
def expected(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_expected_output(job, tmp_path_factory.mktemp("expected") / "out")


def test_output_is_identical_after_one_worker_of_each_stage_is_killed(job, expected, tmp_path):
    (tmp_path / "killed").mkdir()
    run = start_run(job, tmp_path / "out", PYTHONPATH=SITE, XLM_TEST_KILL_FOLDER=str(tmp_path / "killed"))
    assert finish_run(run) == (0, "")
    killed = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert killed == [f"pipelines.stages.{stage}" for stage in STAGES]
    assert result_digests(tmp_path / "out") == result_digests(expected)
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_run_ends_if_raylet_is_killed_while_ray_starts(job, tmp_path):
    """Ray ends the driver with the same exit status if it notices the loss first, but without a message."""
    run = start_run(job, tmp_path / "out")
    wait_until(lambda: find_processes("raylet", run.pid), run)
    os.kill(find_processes("raylet", run.pid)[0], signal.SIGKILL)
    status, errors = finish_run(run)
    assert status == 1
    assert errors == "" or is_message(errors)


def is_message(errors: str) -> bool:
    return errors.startswith("xlm: ") and errors.endswith(RESUME) and errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "after_s"),
    [
        *(("raylet", after_s) for after_s in (0.0, 1.0, 5.0)),
        ("gcs_server", 2.0),
    ],
)
def test_run_completes_or_can_be_resumed_after_a_process_of_ray_is_killed(job, expected, tmp_path, process, after_s):
    """The run ends within a minute with the command to resume, or completes if Ray does not need the process."""
    out = tmp_path / "out"
    run = start_run(job, out)
    wait_until(lambda: find_processes(process, run.pid), run)
    time.sleep(after_s)
    os.kill(find_processes(process, run.pid)[0], signal.SIGKILL)
    try:
        status, errors = finish_run(run, timeout_s=60)
    except subprocess.TimeoutExpired:
        pytest.fail("the run hangs")
    if status == 1:
        assert errors == "" or is_message(errors)
        assert not (out / "_SUCCESS").exists()
        assert finish_run(start_run(job, out)) == (0, "")
    assert result_digests(out) == result_digests(expected)


@pytest.mark.slow
def test_output_is_identical_after_the_memory_monitor_kills_a_worker(job, expected, tmp_path):
    memory = {line.split()[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    spare_kib = 6 * 2**20  # three times what a run takes
    if memory["MemAvailable:"] < 2 * spare_kib:
        pytest.skip("needs 12 GB of free memory")
    run = start_run(
        job,
        tmp_path / "out",
        PYTHONPATH=SITE,
        XLM_TEST_MEMORY_FILE=str(tmp_path / "allocated"),
        RAY_memory_monitor_refresh_ms="50",
        RAY_memory_usage_threshold=f"{1 - (memory['MemAvailable:'] - spare_kib) / memory['MemTotal:']:.3f}",
    )
    assert finish_run(run) == (0, "")
    assert (tmp_path / "allocated").exists()
    assert result_digests(tmp_path / "out") == result_digests(expected)
