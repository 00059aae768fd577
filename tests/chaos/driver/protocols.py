"""Runs that change an output in different ways, in processes that may be killed, and what holds of it afterwards.

Each run is the real `run` on a local corpus and output, with its stages in one process in Ray's place. Processes
come from a fork server that has imported everything, so that one costs a fraction of a second.
"""

import hashlib
import io
import json
import pkgutil
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.errors import FatalError, RetryableError
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.run.execute import run
from pipelines.stages import read as reader
from pipelines.storage import Location, locate
from tests import forks
from tests.chaos.driver.fault_points import Visit, kill_at_nth, record_points, watched
from tests.flow.in_process import without_ray


class Ending(NamedTuple):
    """How a run ended that was not killed: with a report, or with an error; and the moments it went through."""

    report: dict[str, Any] | None
    error: str | None
    points: Sequence[str]

    @property
    def outcome(self) -> tuple[str, int] | str | None:
        """What two runs that ended alike have in common."""
        return (self.report["status"], self.report["totals"]["failed_shards"]) if self.report else self.error


class Protocol(NamedTuple):
    """A run that changes an output.

    Attributes:
        name: what it does.
        job: its output is elsewhere in every round.
        start: the output as the run finds it; there may be none.
        end: the output as the run leaves it when nothing disturbs it.
        ending: of that run.
        retried: reasons of rejected rows whose shards it computes once more.
    """

    name: str
    job: Job
    start: Path
    end: Path
    ending: Ending
    retried: Sequence[str]


def in_fork(work: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a process of its own, and give its result; None if SIGKILL ended it."""
    process, receiving = forks.start(work, *args)
    try:
        result = receiving.recv()
    except EOFError:
        result = None
    forks.join(process)
    assert process.exitcode in (0, -signal.SIGKILL), f"{work.__name__}: exit status {process.exitcode}"
    return result


def drive(job: Job, make_visit: Callable[[], Visit], retried: Sequence[str] = ()) -> Ending:
    """Run a job in this process, under a visit, with a record in the ledger for each shard by itself."""
    points: list[str] = []
    note, visit = record_points(points), make_visit()

    def both(point: str, path: Path) -> None:
        note(point, path)
        visit(point, path)

    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        with watched(Path(job.output.path), both):
            try:
                return Ending(run(job, Console(file=io.StringIO()), retried), None, points)
            except (FatalError, RetryableError, OSError) as error:
                return Ending(None, f"{type(error).__name__}: {error}", points)


def drive_on_a_full_disk(job: Job, most_bytes: int) -> Ending:
    """Run a job in this process, whose files the kernel keeps from growing beyond a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    return drive(job, undisturbed)


def drive_while_rewriting(job: Job, file: Path, ids: Sequence[str]) -> Ending:
    """Run a job in this process; a file of its corpus is written anew while its first row group is read."""
    read, times = reader.read_row_group, count()

    def read_and_rewrite(location: Location, *args: Any) -> pa.Table:
        table = read(location, *args)
        if location.path == str(file) and next(times) == 0:
            write_file(file, ids)
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "read_row_group", read_and_rewrite)
        return drive(job, undisturbed)


def drive_losing_rows(job: Job, place: str) -> Ending:
    """Run a job in this process; a method that is handed a shard does not see its first row."""
    plain = pkgutil.resolve_name(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, lambda self, shard: plain(self, replace(shard, rows=shard.rows.slice(1))))
        return drive(job, undisturbed)


def undisturbed() -> Visit:
    """Let a run pass."""
    return lambda point, path: None


def into(job: Job, out: Path) -> Job:
    """Give the job another output."""
    return job.model_copy(update={"output": job.output.model_copy(update={"path": str(out)})})


def make_protocols(folder: Path, checkpoint: Path) -> list[Protocol]:
    """Prepare, below a folder, what each protocol starts from, and what it leaves when nothing disturbs it."""
    return [_prepare(make, folder / make.__name__.strip("_"), checkpoint) for make in _PROTOCOLS]


def _prepare(make: Callable[[Job], Sequence[str] | None], folder: Path, checkpoint: Path) -> Protocol:
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
    retried = make(job) or ()
    lay_out(start, end)
    ending = in_fork(drive, into(job, end), undisturbed, retried)
    assert ending is not None, "killed"
    assert ending.error is None, ending.error
    return Protocol(folder.name, job, start, end, ending, retried)


def write_file(path: Path, ids: Sequence[str], bad: str | None = None) -> None:
    """Write a file of the corpus, whose last row may be a bad one."""
    texts = [f"The text of {row_id} in {path.name}." for row_id in ids] + [None] * (bad is not None)
    ids = [*ids, bad] if bad else ids
    table = pa.table({"id": ids, "text": pa.array(texts, pa.string()), "lang": ["en"] * len(ids)})
    pq.write_table(table, path, row_group_size=4, compression="none")


def _first_run(job: Job) -> None:
    pass


def _files_came_and_went(job: Job) -> None:
    """A file was added, one changed and one went; a row of another repeated an id of the one that changed."""
    corpus = Path(str(job.input.path))
    write_file(corpus / "aa.parquet", ["c1", "c2", "c3"], bad="c4")
    in_fork(drive, job, undisturbed)
    write_file(corpus / "0.parquet", ["n1", "b1"], bad="n2")
    write_file(corpus / "a.parquet", ["a1", "a4"])
    (corpus / "aa.parquet").unlink()


def _parts_gone(job: Job) -> None:
    """Of what the ledger has records of, a part is gone, one is another, and rejected rows are gone."""
    in_fork(drive, job, undisturbed)
    out = Path(job.output.path)
    first, second, *_ = sorted(out.glob("part-*"))
    first.unlink()
    pq.write_table(pq.read_table(second).slice(1), second)
    next((out / "_xlm" / "rejected").iterdir()).unlink()
    (out / ".part-x.parquet.0a1b2c3d.tmp").write_bytes(b"left by a killed writer")


def _half_done(job: Job) -> None:
    """A run was killed when some shards had their records, with rejected rows among them."""
    in_fork(drive, job, partial(kill_at_nth, "ledger: rename, after", 2))


def _a_shard_fails(job: Job) -> None:
    """One row group cannot be read: the run ends without `_SUCCESS`."""
    damaged = Path(str(job.input.path)) / "d.parquet"
    write_file(damaged, ["d1", "d2", "d3", "d4", "d5"])
    data = bytearray(damaged.read_bytes())
    data[4:24] = b"\xff" * 20
    damaged.write_bytes(data)


def _rejected_again(job: Job) -> Sequence[str]:
    """Shards with rejected rows, all done, are computed once more."""
    in_fork(drive, job, undisturbed)
    return ["null_text", "duplicate_id"]


def _nothing_to_do(job: Job) -> None:
    in_fork(drive, job, undisturbed)


# Each makes what a run starts from: the corpus, and an output where the job's own lies; and may name reasons to retry.
_PROTOCOLS = [
    _first_run,
    _files_came_and_went,
    _parts_gone,
    _half_done,
    _a_shard_fails,
    _rejected_again,
    _nothing_to_do,
]


def lay_out(start: Path, out: Path) -> None:
    """Make an output anew as a protocol finds it."""
    shutil.rmtree(out, ignore_errors=True)
    if start.exists():
        shutil.copytree(start, out)


@cache
def kept(out: Path) -> dict[str, object]:
    """Give the contents of an output that no run changes any more."""
    return contents(out)


def contents(out: Path) -> dict[str, object]:
    """Give everything an output holds, by path, without what differs between any two runs: places and times."""
    found: dict[str, object] = {}
    for path in (path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if name == "_xlm/report.json":
            report = json.loads(path.read_text().replace(str(out), "OUT"))
            found[name] = {key: report[key] for key in report.keys() - {"run", "stage_seconds", "slowest"}}
        elif name == "_xlm/job.json":
            found[name] = path.read_text().replace(str(out), "OUT")
        elif name in ("_xlm/report.html", "_SUCCESS"):
            found[name] = True
        elif name != "_xlm/lock" and (path.parent.name != "ledger" or path.suffix != ".parquet"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    ledger = Output(locate(str(out))).ledger.load()
    untimed = {
        shard: {key: value for key, value in record.to_row().items() if not key.endswith("_s")}
        for shard, record in ledger.items()
    }
    return found | {"ledger": untimed}


def rows(out: Path, *, rejected: bool = True) -> Counter[str]:
    """Count how often each row stands in an output, as any reader of Parquet datasets finds it."""
    found: Counter[str] = Counter()
    for folder in (out, out / "_xlm" / "rejected") if rejected else (out,):
        if folder.exists() and (dataset := ds.dataset(folder, format="parquet")).files:
            found.update(dataset.to_table(columns=["id"])["id"].to_pylist())
    return found
