"""The end of a local Ray process interrupts whatever the main thread waits for."""

import shutil
import subprocess
import sys
import time

import pytest

from pipelines.errors import RetryableError
from pipelines.run.cluster.lost_cluster import cluster_watch


@pytest.fixture
def start_program(tmp_path):
    """Return a function that starts a child process with the name of a program of Ray."""
    processes = []

    def start(name: str) -> subprocess.Popen:
        shutil.copy(shutil.which("sleep"), tmp_path / name)
        processes.append(subprocess.Popen([tmp_path / name, "600"]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_end_of_a_ray_process_interrupts_the_main_thread(start_program, name):
    def wait() -> None:
        with cluster_watch():
            start_program(name).kill()
            time.sleep(60)

    with pytest.raises(RetryableError, match="the Ray cluster has lost all its nodes"):
        wait()


def test_process_exits_with_a_message_if_its_main_thread_cannot_be_interrupted(tmp_path):
    program = f"""
import ctypes, shutil, subprocess
from pipelines.run.cluster import lost_cluster

lost_cluster._MAX_INTERRUPTS = 1
shutil.copy(shutil.which("sleep"), "{tmp_path}/raylet")
with lost_cluster.cluster_watch():
    subprocess.Popen(["{tmp_path}/raylet", "600"]).kill()
    while True:
        try:
            ctypes.CDLL(None).pause()  # returns to Python after each signal
        except BaseException:
            pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    message = "the Ray cluster has lost all its nodes; what is finished is kept, run the same command to resume"
    assert (done.returncode, done.stderr) == (1, f"xlm: {message}\n")


def test_end_of_another_process_does_not(start_program):
    with cluster_watch():
        ray = start_program("raylet")
        start_program("other").kill()
        time.sleep(1)
    assert ray.poll() is None
