"""Runs that change an output in different ways, in processes that may be killed.

Each run is the real `run` on a local corpus and output, with its stages in the same process instead of Ray. The
processes are forks of a server that has imported everything, so each takes a fraction of a second.
"""

import io
import pkgutil
import resource
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.corpus import Member, MemberReader
from pipelines.errors import FatalError, RetryableError
from pipelines.job import Job
from pipelines.run import run
from tests import forks
from tests.chaos.driver.fault_points import Handler, ignore_points, kill_at_nth, record_points, watch_changes
from tests.flow.in_process import without_ray


class RunResult(NamedTuple):
    """The result of a run that was not killed.

    Attributes:
        report: the report; None if the run ended with an error.
        error: the type and message of the error.
        points: the fault points that the run reached.
    """

    report: dict[str, Any] | None
    error: str | None
    points: Sequence[str]

    @property
    def outcome(self) -> tuple[str, int] | str | None:
        """The status and the number of failed shards, or the error; equal for two runs with the same outcome."""
        return (self.report["status"], self.report["totals"]["failed_shards"]) if self.report else self.error


class Scenario(NamedTuple):
    """A run that changes an output.

    Attributes:
        name: what the run finds or does.
        job: each round gives it another output.
        start: the output before the run; need not exist.
        end: the output after the run without faults.
        result: the result of the run without faults.
        retry_rejected: reasons of rejected rows whose shards the run computes again.
    """

    name: str
    job: Job
    start: Path
    end: Path
    result: RunResult
    retry_rejected: Sequence[str]


def run_in_fork(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in another process, and return its result; None if the process was killed by SIGKILL."""
    process, receiving = forks.start(function, *args)
    try:
        result = receiving.recv()
    except EOFError:
        result = None
    forks.join(process)
    assert process.exitcode in (0, -signal.SIGKILL), f"{function.__name__}: exit status {process.exitcode}"
    return result


def run_job(job: Job, make_handler: Callable[[], Handler] = ignore_points, retry: Sequence[str] = ()) -> RunResult:
    """Run a job in this process. A handler is called at each fault point.

    Each shard is committed at once, and two commits are merged by the next one.
    """
    points: list[str] = []
    record, handle = record_points(points), make_handler()

    def record_and_handle(point: str, path: Path) -> None:
        record(point, path)
        handle(point, path)

    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        patch.setattr("pipelines.output.ledger.ledger._MAX_SMALL_FILES", 2)
        with watch_changes(Path(job.output.path), record_and_handle):
            try:
                return RunResult(run(job, Console(file=io.StringIO()), retry), None, points)
            except (FatalError, RetryableError, OSError) as error:
                return RunResult(None, f"{type(error).__name__}: {error}", points)


def run_job_with_file_size_limit(job: Job, max_bytes: int) -> RunResult:
    """Run a job in this process, in which the kernel limits the size of each file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes then fail with EFBIG
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, resource.RLIM_INFINITY))
    return run_job(job)


def run_job_while_rewriting(job: Job, file: Path, ids: Sequence[str]) -> RunResult:
    """Run a job in this process. A file of its corpus is rewritten while its first row group is read."""
    read, num_calls = MemberReader.read, count()

    def read_and_rewrite(self: MemberReader, member: Member) -> pa.Table:
        table = read(self, member)
        if member.file == str(file) and next(num_calls) == 0:
            write_file(file, ids)
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemberReader, "read", read_and_rewrite)
        return run_job(job)


def run_job_losing_rows(job: Job, method: str) -> RunResult:
    """Run a job in this process. A method of a stage receives each shard without its first row."""
    original = pkgutil.resolve_name(method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, lambda self, shard: original(self, replace(shard, rows=shard.rows.slice(1))))
        return run_job(job)


def with_output(job: Job, out: Path) -> Job:
    """Return a copy of the job with another output."""
    return job.model_copy(update={"output": job.output.model_copy(update={"path": str(out)})})


def copy_start(scenario: Scenario, out: Path) -> None:
    """Replace an output by a copy of the scenario's start."""
    _copy_output(scenario.start, out)


def _copy_output(source: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, out)


def make_scenarios(folder: Path, checkpoint: Path) -> list[Scenario]:
    """Prepare the start and end of all scenarios in a folder."""
    return [_make_scenario(prepare, folder / prepare.__name__.strip("_"), checkpoint) for prepare in _SCENARIOS]


def _make_scenario(prepare: Callable[[Job], Sequence[str] | None], folder: Path, checkpoint: Path) -> Scenario:
    corpus, start, end = folder / "corpus", folder / "start", folder / "end"
    corpus.mkdir(parents=True)
    spec = {
        "input": {"path": str(corpus), "id": "id", "text": "text", "lang": "lang"},
        "model": {"checkpoint": str(checkpoint)},
        "tasks": ["feature-extraction"],
        "tokenizer": {"max_length": 32},
        "policy": {"duplicate_ids": "reject", "max_rejected": 1.0, "max_failed_shards": 2, "max_removed": 1.0},
        "output": {"path": str(start), "rows_per_shard": 2},
    }
    job = Job.model_validate(spec)
    write_file(corpus / "a.parquet", ["a1", "a2", "a3"])
    write_file(corpus / "b.parquet", ["b1", "a2"], bad="b2")
    retry_rejected = prepare(job) or ()
    _copy_output(start, end)
    result = run_in_fork(run_job, with_output(job, end), ignore_points, retry_rejected)
    assert result is not None, "killed"
    assert result.error is None, result.error
    return Scenario(folder.name, job, start, end, result, retry_rejected)


def write_file(path: Path, ids: Sequence[str], bad: str | None = None) -> None:
    """Write a file of the corpus. The row with the id `bad`, if any, has no text and is rejected."""
    texts = [f"The text of {row_id} in {path.name}." for row_id in ids] + [None] * (bad is not None)
    ids = [*ids, bad] if bad else ids
    table = pa.table({"id": ids, "text": pa.array(texts, pa.string()), "lang": ["en"] * len(ids)})
    pq.write_table(table, path, row_group_size=4, compression="none")


def _first_run(job: Job) -> None:
    pass


def _files_changed(job: Job) -> None:
    """A file was added, one was changed and one was deleted. A remaining file repeats an id of the changed one."""
    corpus = Path(str(job.input.path))
    write_file(corpus / "aa.parquet", ["c1", "c2", "c3"], bad="c4")
    run_in_fork(run_job, job)
    write_file(corpus / "0.parquet", ["n1", "b1"], bad="n2")
    write_file(corpus / "a.parquet", ["a1", "a4"])
    (corpus / "aa.parquet").unlink()


def _parts_missing(job: Job) -> None:
    """One recorded part is missing, one has other content, and a file of rejected rows is missing."""
    run_in_fork(run_job, job)
    out = Path(job.output.path)
    first, second, *_ = sorted(out.glob("data/part-*"))
    first.unlink()
    pq.write_table(pq.read_table(second).slice(1), second)
    next((out / "_xlm" / "rejected").iterdir()).unlink()
    (out / "_xlm" / "tmp" / ".part-x.parquet.0a1b2c3d.tmp").write_bytes(b"left by a killed writer")


def _partly_done(job: Job) -> None:
    """A run was killed after some shards were committed, with rejected rows among them."""
    run_in_fork(run_job, job, partial(kill_at_nth, "ledger: rename, after", 2))


def _shard_fails(job: Job) -> None:
    """One row group cannot be read, so the run ends without `_SUCCESS`."""
    damaged = Path(str(job.input.path)) / "d.parquet"
    write_file(damaged, ["d1", "d2", "d3", "d4", "d5"])
    data = bytearray(damaged.read_bytes())
    data[4:24] = b"\xff" * 20
    damaged.write_bytes(data)


def _retry_rejected(job: Job) -> Sequence[str]:
    """All shards are done, and those with rejected rows are computed again."""
    run_in_fork(run_job, job)
    return ["null_text", "duplicate_id"]


def _nothing_to_do(job: Job) -> None:
    run_in_fork(run_job, job)


# Each function prepares the corpus and, if the scenario starts with one, the output. It may return reasons to retry.
_SCENARIOS = [
    _first_run,
    _files_changed,
    _parts_missing,
    _partly_done,
    _shard_fails,
    _retry_rejected,
    _nothing_to_do,
]
