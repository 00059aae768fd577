"""`xlm status`: how a job is going, from its output alone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from jobs.exit_status import ExitStatus
from pipelines.formatting import format_count, format_duration, format_percent, one_line
from pipelines.output import Output
from pipelines.status import read_status
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from pipelines.status import Status

_MAX_ERRORS = 5


def print_status(out: str, console: Console, *, as_json: bool) -> ExitStatus:
    """Print how a job is going.

    Args:
        out: the job's output directory, as path or URL.
        console: where to print.
        as_json: whether the status is printed as JSON.

    Raises:
        FatalError: there is no output, or it cannot be read.
        RetryableError: the storage failed.
    """
    output = Output(locate(out))
    status = read_status(output)
    if as_json:
        console.out(json.dumps(status.to_json(), indent=2, ensure_ascii=False), highlight=False)
    else:
        for line in describe_status(status, output.rejected.url, time.time()):
            console.print(one_line(line), highlight=False, markup=False)
    if status.is_running:
        return ExitStatus.LOCKED
    has_succeeded = status.state == "complete" or (status.run and (status.run.status or "").startswith("complete "))
    return ExitStatus.COMPLETE if has_succeeded else ExitStatus.INCOMPLETE


def describe_status(status: Status, rejected_url: str, now_s: float) -> Iterator[str]:
    """Describe how a job is going, in lines.

    Args:
        status: its status.
        rejected_url: the directory that lists its rejected rows.
        now_s: the current time, in seconds since the epoch.
    """
    yield f"{status.name or 'new output'}: {_describe_state(status)}"
    if status.holder is not None:
        since = f" for {format_duration(now_s - status.holder.since_s)}" if status.holder.since_s else ""
        renewed = status.holder.renewed_s
        ago = "" if renewed is None else f"; last renewed {format_duration(max(now_s - renewed, 0.0))} ago"
        yield f"lock: held by {status.holder.process}{since}{ago}"
    if status.shards_planned:
        done, corpus = status.rows_done, status.rows_corpus
        yield f"rows: {done:,} of {corpus:,} ({format_percent(done, corpus)}), {_describe_rows(status)}"
        shards = f"shards: {status.shards_done:,} of {status.shards_planned:,}"
        yield shards + (f", {status.run.num_failed:,} failed" if status.run and status.run.num_failed else "")
    if status.speed.tokens_per_s is not None:
        left = status.speed.seconds_left
        ends = "" if left is None else f", about {format_duration(left)} left"
        yield f"speed: {status.speed.tokens_per_s:,.0f} tokens/s{ends}"
    if status.reasons:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in status.reasons.items())
        yield f"rejected: {reasons}; the rows are listed in {rejected_url}"
    if status.run is not None:
        errors = list(status.run.failed.items())
        for shard, error in errors[:_MAX_ERRORS]:
            yield f"failed: {shard}: {error}"
        if status.run.num_failed > _MAX_ERRORS:
            yield f"… and {format_count(status.run.num_failed - _MAX_ERRORS, 'more failed shard')}"


def _describe_state(status: Status) -> str:
    match status.state:
        case "preparing":
            return "a run checks its input, and has not begun to compute"
        case "ended" if status.run is not None:
            if status.run.status == "too many rejected rows" and status.too_many_rejected:
                return status.too_many_rejected
            return f"{status.run.status}; run the job again to compute what is missing"
        case "stopped":
            process = f", {status.run.process}," if status.run else ""
            return f"stopped: the last run{process} ended without a report; run the job again to resume it"
        case state:
            return state


def _describe_rows(status: Status) -> str:
    counts = f"{status.count('rows_out'):,} written, {status.count('rows_rejected'):,} rejected"
    filtered = f", {status.rows_filtered:,} dropped by input.filter" if status.rows_filtered else ""
    in_flight = f", {status.rows_in_flight:,} more in shards in flight" if status.rows_in_flight else ""
    return counts + filtered + in_flight
