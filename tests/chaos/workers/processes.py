"""Runs in processes of their own, and the killing of what works for them: workers by stage, and Ray's own processes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jobs.demo.build import write_demo
from jobs.job_file.load import load_job
from pipelines.output.directory import Output
from pipelines.storage import locate
from tests.chaos.driver.protocols import contents, rows
from tests.chaos.fault_counts import Counts
from tests.flow.in_process import run_stages

# What a process that Ray runs a stage in calls itself while it has a shard in hand.
STAGES = {
    "read": "ray::ReadCorpus",
    "tokenize": "ray::MapWorker(MapBatches(Tokenize)).submit",
    "infer": "ray::MapWorker(MapBatches(Infer)).submit",
    "write": "ray::MapBatches(Writer)",
}

# Four rows to a shard: some eighty shards, in three row groups.
SETTINGS = ("output.rows_per_shard=4", "compute.tokenizers=1", "compute.models=1", "batch.invariant=true")

ENDS_WITHIN_S = 300.0

_KILLS, _KILLS_A_RUN = 30, 10


def start_run(job: Path, out: Path, *settings: str, **environment: str) -> subprocess.Popen[str]:
    """Begin `xlm run` of a job into `out`, in shards of a few rows."""
    command = [sys.executable, "-m", "jobs.cli", "run", str(job)]
    for setting in (f"output.path={out}", *SETTINGS, *settings):
        command += ["--set", setting]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def end_run(run: subprocess.Popen[str], within_s: float = ENDS_WITHIN_S) -> tuple[int, str]:
    """Wait for a run's end, and give its exit status and what it said on stderr; one that hangs is killed."""
    try:
        _, errors = run.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        run.kill()
        raise
    return run.returncode, errors


def undisturbed(job: Path, out: Path, *settings: str) -> Path:
    """Compute the job's parts stage after stage in this process, without Ray, and give their place."""
    run_stages(load_job(job, [f"output.path={out}", *SETTINGS, *settings]))
    return out


def results(out: Path) -> dict[str, object]:
    """Give the parts and rejected files of an output."""
    return {name: content for name, content in contents(out).items() if "part-" in name}


def recorded(out: Path) -> int:
    """Count the shards that are committed."""
    return len(Output(locate(str(out))).ledger.load())


def wait_for(found: Callable[[], object], run: subprocess.Popen[str]) -> None:
    """Wait until something is so, while a run goes on."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not found():
        assert run.poll() is None, f"the run ended before, with {run.returncode}: {end_run(run)[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes(title: str, of: int) -> list[int]:
    """Find the processes below another one whose command line begins so, or whose program is named so."""
    return [pid for pid in _below(of) if (line := _command_line(pid)).startswith(title) or _program(line) == title]


def hunt(run: subprocess.Popen[str], quarry: Mapping[str, int], gap_s: Callable[[], float]) -> Counter[str]:
    """SIGKILL processes of stages until each stage has lost as many as it shall, or the run is over.

    Args:
        run: the driver.
        quarry: how many to kill, by stage.
        gap_s: how long to wait after a kill.
    """
    killed: Counter[str] = Counter()
    while run.poll() is None and killed != Counter(quarry):
        for stage in quarry:
            if killed[stage] < quarry[stage] and (found := processes(STAGES[stage], run.pid)):
                _kill(found[0])
                killed[stage] += 1
                time.sleep(gap_s())
        time.sleep(0.002)
    return killed


def full(rng: random.Random) -> Iterator[Counts]:
    """Kill workers of every stage, again and again, through several runs.

    What is wrong is said on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = write_demo(Path(folder) / "demo")
        whole, out, kills = undisturbed(job, Path(folder) / "undisturbed"), Path(folder) / "out", 0
        yield Counts(points=len(STAGES))
        while kills < _KILLS:
            run = start_run(job, out)
            quarry = Counter(rng.choices(list(STAGES), k=_KILLS_A_RUN))
            killed = hunt(run, quarry, lambda: rng.expovariate(1.0))
            status, errors = end_run(run)
            same = status == 0 and results(out) == results(whole)
            if not same:
                print(f"killed {dict(killed)}: status {status}, {errors}", file=sys.stderr)
            wanted, found = rows(whole), rows(out)
            lost, doubled = (wanted - found).total(), (found - wanted).total()
            kills += killed.total()
            yield Counts(killed.total(), 0, 1, same, lost, doubled)
            shutil.rmtree(out)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _below(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    for child in map(int, children):
        yield child
        yield from _below(child)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _program(line: str) -> str:
    return Path(line.partition(" ")[0]).name
