"""Start runs on the command line, wait for them, and inspect their output."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jobs.job_file.load import load_job
from pipelines.output.directory import Output
from pipelines.stages.pools import Node, Pools, allocate_pools
from pipelines.storage import locate
from tests.chaos.driver.output_contents import read_contents
from tests.flow.in_process import run_stages

# Four rows per shard give some eighty shards, in three row groups.
SETTINGS = ("output.rows_per_shard=4", "compute.tokenizers=1", "compute.models=1", "batch.invariant=true")

RUN_TIMEOUT_S = 300.0


def start_run(job: Path, out: Path, *settings: str, **environment: str) -> subprocess.Popen[str]:
    """Start `xlm run` with an output and small shards."""
    command = [sys.executable, "-m", "jobs.cli", "run", str(job)]
    for setting in (f"output.path={out}", *SETTINGS, *settings):
        command += ["--set", setting]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def finish_run(run: subprocess.Popen[str], timeout_s: float = RUN_TIMEOUT_S) -> tuple[int, str]:
    """Wait for the end of a run, and return its exit status and stderr. A run that hangs is killed.

    Raises:
        subprocess.TimeoutExpired: the run has not ended in time.
    """
    try:
        _, errors = run.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        run.kill()
        raise
    return run.returncode, errors


def wait_until(condition: Callable[[], object], run: subprocess.Popen[str]) -> None:
    """Wait until a condition is true. Fail if the run ends before."""
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not condition():
        assert run.poll() is None, f"the run has ended with status {run.returncode}: {finish_run(run)[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def write_expected_output(job: Path, out: Path, *settings: str, pools: Pools | None = None) -> Path:
    """Compute the parts of a job in this process, without Ray or faults, and return the output.

    By default, the model has as many threads as in a run on this machine, because sums depend on their number.
    """
    loaded = load_job(job, [f"output.path={out}", *SETTINGS, *settings])
    run_stages(loaded, pools or allocate_pools([Node(float(os.cpu_count() or 1))], loaded.compute))
    return out


def result_digests(out: Path) -> dict[str, object]:
    """Return the digests of the parts and files of rejected rows."""
    return {name: digest for name, digest in read_contents(out).items() if "part-" in name}


def num_committed(out: Path) -> int:
    """Count the committed shards."""
    return len(Output(locate(str(out))).ledger.load())
