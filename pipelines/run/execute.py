"""Run a job: plan, compute what is missing, commit it, and report. The order of the steps makes a run safe to kill."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.errors import ClusterError
from pipelines.formatting import format_count
from pipelines.log import announce
from pipelines.output import (
    Output,
    check_parts,
    describe_too_many_rejected,
    remove_stale_parts,
)
from pipelines.report import build_report, collect_statistics, render_html, render_or_explain
from pipelines.run.cluster import cluster_watch, ray_session, waiting_watch
from pipelines.run.commits import Commits
from pipelines.run.graceful_stop import Stop, graceful_stop, stop_signals
from pipelines.run.output_checks import check_before_changes, check_rejected_langs, compare_output
from pipelines.run.prepare import Prepared, prepare_job
from pipelines.run.progress import Progress
from pipelines.run.run_metrics import RunMetrics
from pipelines.stages import Pools, allocate_pools
from pipelines.status import RunFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pyarrow as pa
    from rich.console import Console

    from pipelines.job import Job, PolicySettings
    from pipelines.output import Lock, OutputState, Records, Totals
    from pipelines.report import RunRecord
    from pipelines.rows import PreRejected
    from pipelines.run.checks import LanguageSurvey

# A wave is one execution of Ray Data. The driver holds its plan, and its worker pools start again for each wave,
# so it must be neither too large nor too short: at some seconds of model time per shard, this many shards take hours.
WAVE_SHARDS = 4_000

_SIGTERM_FOLLOWS_WITHIN_S = 2.0


def run(job: Job, console: Console, retry_rejected: Collection[str] = ()) -> dict[str, Any]:
    """Run a job to its end, or resume it where an earlier run stopped.

    Args:
        job: the job to run.
        console: where progress is shown.
        retry_rejected: reasons of rejected rows; the shards with such rows are computed again.

    Returns:
        The report, with a `status` as in `Commits`. `_SUCCESS` is written if it is "complete".

    Raises:
        FatalError: the job cannot work. Committed shards are kept.
        RetryableError: Ray, its cluster or a store failed, or a disk is full. The same call resumes the job.
    """
    notify = partial(announce, console)
    prepared = prepare_job(job, notify)
    for warning in prepared.warnings:
        notify(f"warning: {warning}")
    output = Output(prepared.output)
    # Check before anything is written, even a lock, and again once no other run can write.
    output.check_fingerprint(prepared.fingerprint)
    if output.is_complete and (state := compare_output(prepared, retry_rejected)).is_complete:
        return _report_nothing_to_do(job.policy, prepared, state.recorded, console)
    with output.lock() as lock:
        output.check_fingerprint(prepared.fingerprint)
        state = compare_output(prepared, retry_rejected)
        if output.is_complete and state.is_complete:  # by the run that held the lock before
            return _report_nothing_to_do(job.policy, prepared, state.recorded, console)
        ids = check_before_changes(job, prepared, state, notify)
        survey = check_rejected_langs(job, prepared, state)
        for note in state.notes:
            notify(note)
        remove_stale_parts(output, state)
        output.begin(prepared.description, prepared.plan.to_table(ids_are_distinct=ids.are_distinct))
        num_rows = _count_rows(state.todo)
        progress = Progress(console, num_rows)
        run_file = RunFile(output, lock.holder, progress.started_s, prepared.plan.pruned.num_rows)
        run_file.write()
        metrics = RunMetrics(job.name, len(state.todo), num_rows)
        commits = Commits(output, lock, job.policy, state, progress, run_file, metrics)
        stop = Stop()
        with stop_signals(stop):
            if len(state.todo):
                _compute(job, prepared, state, commits, progress, metrics, ids.repeated, stop, notify, survey)
            del state  # its records are loaded again, with those of this run
            return _finish(prepared, output, lock, commits, progress, run_file)


def _compute(
    job: Job,
    prepared: Prepared,
    state: OutputState,
    commits: Commits,
    progress: Progress,
    metrics: RunMetrics,
    pre_rejected: PreRejected,
    stop: Stop,
    notify: Callable[[str], None],
    survey: LanguageSurvey | None,
) -> None:
    """Compute shards on Ray, wave by wave, until all are done or the run ends early."""
    todo = state.todo
    try:
        with (
            ray_session(job.compute) as (nodes, addable),
            cluster_watch(),
            progress.show(commits.publish_in_flight),
            metrics.set_gauges(),
            graceful_stop(stop, job.policy.stop_grace_s, notify, commits.append),
        ):
            from pipelines.run.shard_runner import ShardRunner  # imports Ray Data, while Ray's first workers start

            pools = allocate_pools(nodes, job.compute, addable, detects_lang=prepared.stages.identify is not None)
            notify(_describe_start(_describe_rows(job, todo, survey), len(todo), state.num_done, pools))
            progress.workers = pools.sizes
            runner = ShardRunner(prepared.stages, pools, commits, stop, pre_rejected, notify)
            with waiting_watch(pools, can_grow=bool(addable), notify=notify, end=stop.request):
                for first in range(0, len(todo), WAVE_SHARDS):
                    if stop.reason is not None or commits.exceeded is not None:
                        return
                    runner.run(todo.slice(first, WAVE_SHARDS))
    except ClusterError:
        # A scheduler that stops this process may stop its cluster a little earlier.
        time.sleep(_SIGTERM_FOLLOWS_WITHIN_S)
        if stop.reason is None:
            raise


def _count_rows(shards: pa.Table) -> int:
    return int(shards["num_rows"].to_numpy().sum())


def _describe_rows(job: Job, todo: pa.Table, survey: LanguageSurvey | None) -> str:
    """Describe how many rows will be computed or rejected."""
    if job.input.filter is None:
        return format_count(_count_rows(todo), "row")
    if survey is not None and survey.is_exact:
        return format_count(survey.num_rows, "row")
    return f"up to {format_count(_count_rows(todo), 'row')}"


def _describe_start(rows: str, num_shards: int, num_done: int, pools: Pools) -> str:
    shards = format_count(num_shards, "shard")
    resumed = f", {num_done:,} already done" if num_done else ""
    device = f"with {format_count(pools.model_gpus, 'GPU')} each" if pools.model_gpus else "on the CPU"
    identifiers = "identifiers and " if pools.identifier_cpus else ""
    workers = f"{identifiers}tokenizers: up to {pools.tokenizers}, models: {pools.models} {device}"
    return f"{rows} in {shards}{resumed}; {workers}"


def _finish(
    prepared: Prepared, output: Output, lock: Lock, commits: Commits, progress: Progress, run_file: RunFile
) -> dict[str, Any]:
    """Write how the run ended, the report and, if every shard is committed, `_SUCCESS`."""
    done = output.ledger.load()
    status, run_record = commits.status(done), progress.run_record()
    report = _build_report(prepared, output, done, done.totals(), commits.failed, status, run_record)
    success = status == "complete"
    if success:
        check_parts(output, done)
    lock.check()
    run_file.end(status, run_record.ended_s)
    run_file.write()
    output.finish(report, render_or_explain(render_html, report), success=success)
    return report


def _report_nothing_to_do(
    policy: PolicySettings, prepared: Prepared, done: Records, console: Console
) -> dict[str, Any]:
    announce(console, "nothing to do: every row of the corpus is in the output or rejected")
    # The run that completed the output may have had a higher limit.
    totals = done.totals()
    too_many = describe_too_many_rejected(totals, policy)
    status = "too many rejected rows" if too_many else "complete"
    return _build_report(prepared, None, done, totals, {}, status, Progress(console, 0).run_record())


def _build_report(
    prepared: Prepared,
    output: Output | None,
    done: Records,
    totals: Totals,
    failed: dict[str, str],
    status: str,
    run_record: RunRecord,
) -> dict[str, Any]:
    """Build the report of a run, with statistics of its results if there is an output to read them from."""
    job = prepared.job
    statistics = output and collect_statistics(output, done, job.tasks, job.input.output_lang_column)
    return build_report(
        prepared.description,
        prepared.plan.num_rows,
        totals,
        failed,
        run_record,
        status,
        rows_pruned=prepared.plan.pruned.num_rows,
        statistics=statistics,
        shards=prepared.plan.shards,
    )
