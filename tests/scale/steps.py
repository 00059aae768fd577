"""The steps of a run that resumes a large output, and of commands that read one: what each does, takes and needs."""

import gc
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from jobs.preview.read import read_preview
from pipelines.output import (
    Output,
    ShardResult,
    compare_with_plan,
    find_orphans,
    part_name,
    remove_stale_parts,
)
from pipelines.run.commits import Commits
from pipelines.run.execute import _finish
from pipelines.run.progress import Progress
from pipelines.run.run_metrics import RunMetrics
from pipelines.status import RunFile, read_status
from pipelines.verify import verify
from pipelines.verify.findings import ShardFindings
from tests.scale.synthetic import ROWS_PER_SHARD, Simulation, shard_names

_SHARDS_PER_COMMIT = 20


class Step(NamedTuple):
    """What a step took.

    Attributes:
        name: what was done.
        seconds: wall time.
        cpu_s: processor time of all threads.
        peak_mb: the greatest resident memory of the process meanwhile, in megabytes.
        grown_mb: by how much that exceeds the memory at the start of the first step.
    """

    name: str
    seconds: float
    cpu_s: float
    peak_mb: float
    grown_mb: float


class Steps:
    """Measures steps in this process."""

    def __init__(self, report: Callable[[Step], None]):
        self.results: dict[str, Step] = {}
        self._report, self._start_mb = report, _memory_mb("VmRSS")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        started, cpu_s = time.perf_counter(), time.process_time()
        yield
        seconds, cpu_s, peak = time.perf_counter() - started, time.process_time() - cpu_s, _memory_mb("VmHWM")
        self.results[name] = Step(name, seconds, cpu_s, peak, peak - self._start_mb)
        self._report(self.results[name])


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(name))


def resume(simulation: Simulation, steps: Steps) -> dict[str, Any]:
    """Do what a run does that resumes the output, except for computing, and return its report."""
    prepared, output = simulation.prepared, Output(simulation.prepared.output)
    part, rejected = (next(Path(folder.path).iterdir()).read_bytes() for folder in (output.parts, output.rejected))
    with output.lock() as lock:
        with steps.step("load the ledger and compare it with the plan"):
            state = compare_with_plan(output, prepared.plan.shards, prepared.segmenters)
        with steps.step("remove stale parts, write the plan"):
            remove_stale_parts(output, state)
            output.begin(prepared.description, prepared.plan.to_table())
        progress = Progress(Console(file=io.StringIO()), len(state.todo))
        run_file = RunFile(output, lock.holder, progress.started_s)
        metrics = RunMetrics("scale", len(state.todo), len(state.todo))
        commits = Commits(output, lock, prepared.job.policy, state, progress, run_file, metrics)
        with steps.step(f"commit {len(state.todo):,} shards, {_SHARDS_PER_COMMIT} at once"):
            for number, record in enumerate(simulation.later_records(), 1):
                Path(output.parts.path, record.part).write_bytes(part)
                if record.rows_rejected:
                    Path(output.rejected.path, record.part).write_bytes(rejected)
                commits.take(ShardResult(record.shard, record))
                if number % _SHARDS_PER_COMMIT == 0:
                    commits.append()
            commits.append()
        del state, record  # as in `run`
        with steps.step("finish: check the parts, write the report"):
            return _finish(prepared, output, lock, commits, progress, run_file)


def read(simulation: Simulation, steps: Steps) -> None:
    """Do what the commands do that read an output."""
    output = Output(simulation.prepared.output)
    with steps.step("xlm status"):
        status = read_status(output)
    assert status.state == "complete", status.state
    with steps.step("xlm show"):
        read_preview(output.location, 1)
    with steps.step("xlm gc --dry-run"):
        assert find_orphans(output) == []
    with nothing_read(), steps.step("xlm verify, without reading parts and files"):
        verdict = verify(output)
    assert verdict.verified, verdict.problems[:3]


@contextmanager
def nothing_read() -> Iterator[None]:
    """Let `verify` find that each file has the planned rows, and each part the recorded ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.verify.check_plan._count_rows", lambda *_: Counter({0: ROWS_PER_SHARD}))
        patch.setattr("pipelines.verify.check_output.read_source_rows", lambda *_: None)
        patch.setattr("pipelines.verify.check_output.check_shard", lambda _, __, shard, *___: ShardFindings(shard.id))
        yield


def replace_ledger(simulation: Simulation, steps: Steps) -> None:
    """Do what a run does if one part is damaged."""
    prepared, output = simulation.prepared, Output(simulation.prepared.output)
    Path(output.parts.path, part_name(shard_names(0, 1)[0])).unlink()
    with output.lock(), steps.step("compute one part again: rewrite the ledger"):
        state = compare_with_plan(output, prepared.plan.shards, prepared.segmenters)
        assert len(state.todo) == len(state.stale_parts) == 1
        remove_stale_parts(output, state)
    assert len(output.ledger.load()) == len(prepared.plan.shards) - 1
