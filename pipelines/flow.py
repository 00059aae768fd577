"""The way of a corpus through the system, and the order in which a run becomes durable.

spec ─ plan ─▶ read ─▶ tokenize ─▶ infer ─▶ write ─▶ ledger ─▶ report
       driver   CPU      CPU pool    GPU pool  CPU      driver     driver
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import ray.data
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from pipelines.compute import READ_CPUS, WRITE_CPUS, Pools, divide
from pipelines.duplicates import find_duplicates
from pipelines.errors import FatalError, RetryableError
from pipelines.infer import Infer
from pipelines.output import Output
from pipelines.prepare import Prepared, prepare
from pipelines.progress import Progress
from pipelines.read import PlanSource
from pipelines.report import build_report
from pipelines.report_page import render_html
from pipelines.resume import Standing, clean_up, compare
from pipelines.runtime import ray_session
from pipelines.storage import reason
from pipelines.tokenize import Tokenize
from pipelines.watch import cluster_watch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pyarrow as pa
    from ray.data import Dataset
    from rich.console import Console

    from pipelines.job import Job

# A wave is one execution of Ray Data. Its plan sits in the driver, and the pools start anew for each, so it is
# bounded, and lasts hours where a shard is seconds of model time.
WAVE_SHARDS = 4_000

# Records wait for others, so that files of the ledger hold many; a crash costs the work of those waiting. They wait for
# a two-hundredth of the run so far, within these bounds: a week then leaves ten thousand files.
_COMMIT_EVERY_S = (2.0, 60.0)

# Every stage takes one shard at a time, whole.
_SHARDWISE: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
_RESTARTS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 2}


def run(job: Job, console: Console) -> dict[str, Any]:
    """Run a job to its end, or go on with it where an earlier run stopped.

    Returns:
        The report; its `status` is "complete" when rejected rows and failed shards are within the job's limits.
        `_SUCCESS` is written when, besides, no shard failed: then every row of the corpus is in the output or rejected.

    Raises:
        FatalError: the job cannot work. What is committed by then stays.
        RetryableError: Ray or its cluster failed; the same call goes on from there.
    """
    prepared = prepare(job, lambda line: console.print(line, highlight=False, markup=False))
    output = Output(prepared.output)
    output.check_fingerprint(prepared.fingerprint)  # before anything is written there, if only a lock
    with output.lock():
        output.check_fingerprint(prepared.fingerprint)
        standing = compare(output, prepared.plan.shards)
        for note in standing.notes:
            console.print(note, highlight=False, markup=False)
        done, todo, failed = standing.done, standing.todo, dict[str, str]()
        progress = Progress(console, sum(todo["num_rows"].to_pylist()))
        if not len(todo) and not standing.surplus and output.is_complete:
            console.print("nothing to do: every row of the corpus is in the output or rejected", highlight=False)
            return _report(prepared, done, failed, progress)
        duplicates = _check_ids(job, standing) if len(todo) else {}
        clean_up(output, standing)
        output.begin(prepared.description, prepared.plan.shards)
        if len(todo):
            with ray_session(job.compute) as (cpus, gpus), cluster_watch(), progress.show():
                pools = divide(cpus, gpus, job.compute)
                console.print(_begun(todo, len(done), pools), highlight=False)
                for first in range(0, len(todo), WAVE_SHARDS):
                    wave = todo.slice(first, WAVE_SHARDS)
                    # closed, also on an error: Ray Data would go on, and complain once Ray is gone
                    with closing(stream(build_dataset(prepared, pools, wave, duplicates))) as results:
                        _commit(output, results, wave, done, failed, progress)
        report = _report(prepared, done, failed, progress)
        output.finish(report, render_html(report), success=report["status"] == "complete" and not failed)
        return report


def build_dataset(prepared: Prepared, pools: Pools, shards: pa.Table, duplicates: dict[str, list[int]]) -> Dataset:
    """String the stages together; each row of the dataset is the record of one shard, or its error.

    Args:
        prepared: the job, and what its stages need.
        pools: how wide each stage is.
        shards: the part of the plan to do.
        duplicates: for a shard, the rows whose id an earlier row has.
    """
    source = PlanSource(prepared.reader(), shards)
    repeats = {shard: duplicates[shard] for shard in shards["shard"].to_pylist() if shard in duplicates}
    return (
        # told the number of blocks it will get, Ray does not split those of a row group; small shards share one
        ray.data.read_datasource(source, num_cpus=READ_CPUS, override_num_blocks=source.num_tasks)
        .map_batches(
            Tokenize,
            fn_constructor_args=(prepared.tokenize(repeats),),
            compute=ActorPoolStrategy(min_size=1, max_size=pools.tokenizers),
            num_cpus=pools.tokenizer_cpus,
            **_SHARDWISE,
            **_RESTARTS,
        )
        .map_batches(
            Infer,
            fn_constructor_args=(prepared.infer(pools),),
            # with two calls at a time one's data move while the other's model runs; the model still runs one
            compute=ActorPoolStrategy(size=pools.models, max_concurrent_calls_per_actor=2),
            num_cpus=pools.model_cpus,
            num_gpus=pools.model_gpus or None,
            **_SHARDWISE,
            **_RESTARTS,
        )
        .map_batches(prepared.writer(), num_cpus=WRITE_CPUS, **_SHARDWISE)
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


def _commit(
    output: Output,
    results: Iterator[dict[str, Any]],
    wave: pa.Table,
    done: dict[str, dict[str, Any]],
    failed: dict[str, str],
    progress: Progress,
) -> None:
    """Take results as they come; a shard is done once its record is in the ledger."""
    rows = dict(zip(wave["shard"].to_pylist(), wave["num_rows"].to_pylist(), strict=True))
    waiting: list[dict[str, Any]] = []

    def append() -> None:
        output.ledger.append(waiting)
        done.update({record["shard"]: record for record in waiting})
        waiting.clear()

    appended = time.monotonic()
    try:
        for record in results:
            error, fatal = record.pop("error"), record.pop("fatal")
            if fatal:
                raise FatalError(error)
            if error is not None:
                failed[record["shard"]] = error
                progress.count_failed(rows[record["shard"]])
                continue
            _check_precision(record, done)
            waiting.append(record)
            progress.count(record)
            least, most = _COMMIT_EVERY_S
            if time.monotonic() - appended >= min(max(progress.elapsed_s / 200, least), most):
                append()
                appended = time.monotonic()
    finally:
        append()
    for shard in rows.keys() - done.keys() - failed.keys():
        failed[shard] = "its process died each time that it was tried"
        progress.count_failed(rows[shard])


def _check_precision(record: dict[str, Any], done: dict[str, dict[str, Any]]) -> None:
    """Refuse to go on in another precision than the results have that are there, as on another kind of machine."""
    before = next(iter(done.values()), record)["precision"]
    if record["precision"] != before:
        raise FatalError(
            f"model.precision auto is {record['precision']} on this machine, but the output has results in {before}; "
            "go on where the run began, or begin a new output"
        )


def _check_ids(job: Job, standing: Standing) -> dict[str, list[int]]:
    """Find rows that repeat an id, as the job's policy has it: for each shard, those to reject."""
    policy, rows = job.policy.duplicate_ids, dict[str, list[int]]()
    if job.input.id is None or policy == "ignore":
        return rows
    repeats = find_duplicates(standing.shards, job.input.id, job.input.filter, standing.repeats)
    if repeats and policy == "error":
        shown = "; ".join(f"{r.file} row {r.row} has that of {r.first_file} row {r.first_row}" for r in repeats[:3])
        raise FatalError(
            f"input.id {job.input.id}: {len(repeats)} rows repeat an id ({shown}{' …' if len(repeats) > 3 else ''}); "
            "name a column of unique ids, or set policy.duplicate_ids to reject or ignore"
        )
    for repeat in repeats:
        rows.setdefault(repeat.shard, []).append(repeat.row)
    return rows


def _report(
    prepared: Prepared, done: dict[str, dict[str, Any]], failed: dict[str, str], progress: Progress
) -> dict[str, Any]:
    policy, records = prepared.job.policy, list(done.values())
    rejected = sum(record["rows_rejected"] for record in records)
    limit = policy.max_rejected
    if isinstance(limit, float):
        limit *= sum(record["rows_in"] for record in records)
    status = "complete"
    if len(failed) > policy.max_failed_shards:
        status = "failed shards"
    elif rejected > limit:
        status = "too many rejected rows"
    rows = prepared.plan.num_rows
    return build_report(
        prepared.description, rows, records, failed, progress.elapsed_s, status, run_tokens=progress.tokens
    )


def _begun(todo: pa.Table, num_done: int, pools: Pools) -> str:
    rows = sum(todo["num_rows"].to_pylist())
    resumed = f", {num_done:,} done before" if num_done else ""
    model = f"{pools.models} on {pools.model_gpus:g} GPUs each" if pools.model_gpus else f"{pools.models} on the CPU"
    return f"{rows:,} rows in {len(todo):,} shards{resumed}; tokenizers: up to {pools.tokenizers}, models: {model}"
