"""A run of the command line that is killed, and run again. Runs that are stopped: tests/real/runs/test_signals.py."""

import random
import signal
import subprocess
import sys
import time

from tests.flow.run.outputs import result_digests, wait_until


def test_resume_after_sigkill_gives_identical_output(undisturbed, demo, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "job.yaml"), "--set", f"output.path={out}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(out.glob("data/part-*")))
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warning, and no message of Ray
    assert result_digests(out) == result_digests(undisturbed)
    assert (out / "_SUCCESS").exists()
