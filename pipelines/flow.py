"""The way of a corpus through the system, and the order in which a run becomes durable.

spec ─ plan ─▶ read ─▶ tokenize ─▶ infer ─▶ write ─▶ ledger ─▶ report
       driver   CPU      CPU pool    GPU pool  CPU      driver     driver
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from pipelines.corpus.duplicate_ids import find_duplicates
from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import counted
from pipelines.output.directory import Output
from pipelines.output.resume import Standing, check_parts, clean_up, compare
from pipelines.report.page import render_html
from pipelines.report.totals import build_report
from pipelines.rows.shard import REPEATED
from pipelines.run.cluster_watch import cluster_watch
from pipelines.run.commits import Commits
from pipelines.run.crash_isolation import KILLED, KILLED_DETAIL, find_killers, report_back
from pipelines.run.graceful_stop import Stop, graceful_stop
from pipelines.run.prepare import Prepared, prepare
from pipelines.run.progress import Progress
from pipelines.run.ray_session import ray_session
from pipelines.stages.infer import Infer
from pipelines.stages.pools import READ_CPUS, WRITE_CPUS, Pools, divide
from pipelines.stages.read import PlanSource
from pipelines.stages.tokenize import Tokenize
from pipelines.storage.retries import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from ray.data import Dataset
    from rich.console import Console

    from pipelines.job.job import Job

# A wave is one execution of Ray Data. Its plan sits in the driver, and the pools start anew for each, so it is
# bounded, and lasts hours where a shard is seconds of model time.
WAVE_SHARDS = 4_000

# Every stage takes one shard at a time, whole.
_SHARDWISE: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}

# Ray's own default is to try what kills its process for ever.
_RETRIES = 2
_RETRIED_TASK: dict[str, Any] = {"max_retries": _RETRIES}
_RETRIED_ACTOR: dict[str, Any] = {"max_restarts": -1, "max_task_retries": _RETRIES}

Settled = dict[str, dict[int, tuple[str, str]]]
"""For a shard, the rows (by number in the file) that are rejected before they are looked at: reason and detail."""


def run(job: Job, console: Console, retry_rejected: Collection[str] = ()) -> dict[str, Any]:
    """Run a job to its end, or go on with it where an earlier run stopped.

    Args:
        job: what to do.
        console: is told how it goes.
        retry_rejected: reasons of rejected rows whose shards are computed once more.

    Returns:
        The report. Its `status` is "complete" when every row of the corpus was dealt with, and rejected rows and failed
        shards are within the job's limits; "interrupted" when the run was stopped before. `_SUCCESS` is written when it
        is complete and no shard failed: then every row of the corpus is in the output or rejected.

    Raises:
        FatalError: the job cannot work. What is committed by then stays.
        RetryableError: Ray, its cluster or a store failed; the same call goes on from there.
    """
    tell = partial(console.print, highlight=False, markup=False)
    prepared = prepare(job, tell)
    plan, output = prepared.plan, Output(prepared.output)
    output.check_fingerprint(prepared.fingerprint)  # before anything is written there, if only a lock
    if output.is_complete and (standing := compare(output, plan.shards, retry_rejected)).is_whole:
        return _nothing_to_do(prepared, standing, console)
    with output.lock() as lock:
        output.check_fingerprint(prepared.fingerprint)
        standing = compare(output, plan.shards, retry_rejected)
        if output.is_complete and standing.is_whole:  # the run that held the lock before this one did it all
            return _nothing_to_do(prepared, standing, console)
        standing.check_removal(job.policy.max_removed, output.location.url)
        for note in standing.notes:
            tell(note)
        todo = standing.todo
        progress = Progress(console, sum(todo["num_rows"].to_pylist()))
        commits = Commits(output, lock, job.policy, plan.shards, standing.done, progress)
        settled = _settle_ids(job, standing) if len(todo) else {}
        clean_up(output, standing)
        output.begin(prepared.description, plan.shards)
        if len(todo):
            with (
                ray_session(job.compute) as (cpus, gpus),
                cluster_watch(),
                progress.show(),
                graceful_stop(job.policy.stop_grace_s, tell) as stop,
            ):
                pools = divide(cpus, gpus, job.compute)
                tell(_begun(todo, len(commits.done), pools))
                _Work(prepared, pools, commits, stop, tell, settled).do(todo)
        status = commits.status
        report = _report(prepared, commits.done, commits.failed, status, progress)
        success = status == "complete" and not commits.failed
        if success:
            check_parts(output, commits.done)
        lock.check()
        output.finish(report, render_html(report), success=success)
        return report


class _Work:
    """The shards of a run, computed on Ray until each is done or failed, or the run is to end."""

    def __init__(
        self,
        prepared: Prepared,
        pools: Pools,
        commits: Commits,
        stop: Stop,
        tell: Callable[[str], None],
        settled: Settled,
    ):
        self._prepared, self._pools, self._commits, self._stop = prepared, pools, commits, stop
        self._tell, self._settled = tell, settled

    def do(self, todo: pa.Table) -> None:
        """Compute shards, wave by wave; those that went with a process that died are searched for the rows to blame."""
        for first in range(0, len(todo), WAVE_SHARDS):
            lost = self._compute(todo.slice(first, WAVE_SHARDS))
            if len(lost):
                self._tell(f"{counted(len(lost), 'shard')} went with a process that died; trying each alone")
                lost = self._compute(lost, alone=True)
            if len(lost):
                self._tell(
                    f"{counted(len(lost), 'shard')} killed the process each time; searching for the rows that do"
                )
                for shard, rows in find_killers(lost, self._probe).items():
                    self._settled.setdefault(shard, {}).update(dict.fromkeys(rows, (KILLED, KILLED_DETAIL)))
                for shard in self._compute(lost, alone=True)["shard"].to_pylist():
                    self._commits.fail(shard, "its process died each time that it was tried, and no row is to blame")
            if self._stop.reason is not None or self._commits.exceeded is not None:
                return

    def _compute(self, shards: pa.Table, *, alone: bool = False) -> pa.Table:
        """Compute and commit shards; gives those that were lost with their process."""
        returned: set[str] = set()
        dataset = build_dataset(self._prepared, self._pools, shards, self._settled, alone=alone)
        # closed, also on an error: Ray Data would go on, and complain once Ray is gone
        with closing(stream(dataset)) as results:
            try:
                for result in results:
                    returned.add(result["shard"])
                    self._stop.count_out(result["shard"])
                    self._commits.take(result)
                    if (limit := self._commits.exceeded) is not None:
                        self._stop.request(limit)
                    if self._stop.is_done(returned):
                        break
            finally:
                self._commits.append()
        return self._missing(shards, returned)

    def _probe(self, pieces: pa.Table) -> set[str]:
        dataset = build_dataset(self._prepared, self._pools, pieces, {}, alone=True, write=report_back)
        returned: set[str] = set()
        with closing(stream(dataset)) as results:
            for result in results:
                returned.add(result["shard"])
                self._stop.count_out(result["shard"])
        return set(self._missing(pieces, returned)["shard"].to_pylist())

    def _missing(self, shards: pa.Table, returned: set[str]) -> pa.Table:
        stopped = self._stop.reason is not None  # then what did not return may never have been begun
        missing = shards.filter(
            pa.array([not stopped and s not in returned for s in shards["shard"].to_pylist()], pa.bool_())
        )
        for shard in missing["shard"].to_pylist():  # gone with its process, and in flight no more
            self._stop.count_out(shard)
        return missing


def build_dataset(
    prepared: Prepared,
    pools: Pools,
    shards: pa.Table,
    settled: Settled,
    *,
    alone: bool = False,
    write: Callable[[pa.Table], pa.Table] | None = None,
) -> Dataset:
    """String the stages together; each row of the dataset is the record of one shard, or its error.

    Args:
        prepared: the job, and what its stages need.
        pools: how wide each stage is.
        shards: the part of the plan to do.
        settled: rows to reject before they are looked at.
        alone: let no shard share a block or a process's queue with another, so that it dies of its own rows only.
        write: what to do at the end in place of writing a part.
    """
    source = PlanSource(prepared.reader(), shards, alone=alone)
    rows = {shard: settled[shard] for shard in shards["shard"].to_pylist() if shard in settled}
    queue: dict[str, Any] = {"max_tasks_in_flight_per_actor": 1} if alone else {}
    # with two calls at a time one's data move while the other's model runs; the model still runs one
    model_queue = queue or {"max_concurrent_calls_per_actor": 2}
    return (
        # told the number of blocks it will get, Ray does not split those of a row group; small shards share one
        ray.data.read_datasource(
            source, num_cpus=READ_CPUS, override_num_blocks=source.num_tasks, ray_remote_args=_RETRIED_TASK
        )
        .map_batches(
            Tokenize,
            fn_constructor_args=(prepared.tokenize(rows),),
            compute=ActorPoolStrategy(min_size=1, max_size=pools.tokenizers, **queue),
            num_cpus=pools.tokenizer_cpus,
            **_SHARDWISE,
            **_RETRIED_ACTOR,
        )
        .map_batches(
            Infer,
            fn_constructor_args=(prepared.infer(pools),),
            compute=ActorPoolStrategy(size=pools.models, **model_queue),
            num_cpus=pools.model_cpus,
            num_gpus=pools.model_gpus or None,
            **_SHARDWISE,
            **_RETRIED_ACTOR,
        )
        .map_batches(write or prepared.writer(), num_cpus=WRITE_CPUS, **_SHARDWISE, **_RETRIED_TASK)
    )


def stream(dataset: Dataset) -> Generator[dict[str, Any]]:
    """Give the shards' records as they come.

    Raises:
        RetryableError: Ray itself cannot go on.
    """
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from cast("pa.Table", batch).to_pylist(maps_as_pydicts="strict")
    except RayError as error:
        raise RetryableError(f"Ray gave up ({type(error).__name__}: {reason(error)})") from None


def _settle_ids(job: Job, standing: Standing) -> Settled:
    """Find rows that repeat an id, as the job's policy has it."""
    policy, settled = job.policy.duplicate_ids, dict[str, dict[int, tuple[str, str]]]()
    if job.input.id is None or policy == "ignore":
        return settled
    repeats = find_duplicates(standing.shards, job.input.id, job.input.filter, standing.repeats, job.storage)
    if policy == "error" and (first := list(islice(repeats, 3))):
        shown = "; ".join(f"{r.file} row {r.row} has that of {r.first_file} row {r.first_row}" for r in first)
        more = sum(1 for _ in repeats)  # counted, not kept: a wrong column may repeat in every row
        raise FatalError(
            f"input.id {job.input.id}: {len(first) + more} rows repeat an id ({shown}{' …' if more else ''}); "
            "name a column of unique ids, or set policy.duplicate_ids to reject or ignore"
        )
    for repeat in repeats:
        settled.setdefault(repeat.shard, {})[repeat.row] = (REPEATED, "an earlier row has this id")
    return settled


def _nothing_to_do(prepared: Prepared, standing: Standing, console: Console) -> dict[str, Any]:
    console.print("nothing to do: every row of the corpus is in the output or rejected", highlight=False)
    return _report(prepared, standing.done, {}, "complete", Progress(console, 0))


def _report(
    prepared: Prepared, done: dict[str, Any], failed: dict[str, str], status: str, progress: Progress
) -> dict[str, Any]:
    records, rows = list(done.values()), prepared.plan.num_rows
    return build_report(
        prepared.description, rows, records, failed, progress.elapsed_s, status, run_tokens=progress.tokens
    )


def _begun(todo: pa.Table, num_done: int, pools: Pools) -> str:
    rows = sum(todo["num_rows"].to_pylist())
    resumed = f", {num_done:,} done before" if num_done else ""
    model = f"{pools.models} on {pools.model_gpus:g} GPUs each" if pools.model_gpus else f"{pools.models} on the CPU"
    return f"{rows:,} rows in {len(todo):,} shards{resumed}; tokenizers: up to {pools.tokenizers}, models: {model}"
