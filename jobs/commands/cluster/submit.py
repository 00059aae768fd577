"""`xlm submit`: run a job on a Ray cluster through Ray's Jobs API."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from ray.job_submission import JobStatus

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from jobs.submission import (
    LostJobError,
    check_id,
    find_attempts,
    follow,
    pinned_requirements,
    running_ids,
    submit,
)
from pipelines.errors import ClusterError, FatalError
from pipelines.formatting import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.job_submission import JobDetails
    from rich.console import Console

    from jobs.submission import Attempt, JobClient, ShippedJob

_MAX_CHARS = 500
_RESUME_HINT = "what it has finished is kept, submit it again to resume"


def submit_job(
    client: JobClient,
    shipped: ShippedJob,
    console: Console,
    *,
    submission_id: str | None,
    wait: bool,
    pip: bool,
) -> int:
    """Submit a job unless it is running, and follow it.

    Args:
        client: the cluster.
        shipped: the job.
        console: where to print.
        submission_id: the id of the job; the default is that of `ShippedJob`, and such a job is run again when it has
            ended.
        wait: whether to follow the job.
        pip: whether to install this project's requirements for the job.

    Returns:
        The exit status of the job, or 0 without waiting.
    """
    if submission_id is not None:
        check_id(submission_id)
    packages = pinned_requirements() if pip else []
    once = submission_id is not None
    attempt, is_new = submit(client, shipped, submission_id or shipped.submission_id, once=once, packages=packages)
    if attempt.has_ended:
        _print(console, f"{attempt.id} has succeeded already; nothing is submitted")
        return ExitStatus.COMPLETE
    _print(console, f"submitted {attempt.id} to {client.address}" if is_new else f"{attempt.id} is running already")
    if is_new and shipped.local_paths and not client.is_on_this_machine:
        paths = ", ".join(dict.fromkeys(shipped.local_paths))
        _print(console, f"every node of the cluster must have these files, which are not sent: {paths}")
    if not wait:
        _print(console, f"follow it with: {_follow_command(client, attempt.id)}")
        return ExitStatus.COMPLETE
    return _follow(client, attempt.id, console)


def follow_job(client: JobClient, submission_id: str, console: Console, *, wait: bool) -> int:
    """Follow a job that was submitted before, and return its exit status. Without waiting, print its status only."""
    attempt = _find(client, submission_id)
    if not wait:
        _print(console, f"{attempt.id} is {attempt.status.value}")
        return ExitStatus.COMPLETE
    return _follow(client, attempt.id, console)


def stop_job(client: JobClient, submission_id: str, console: Console, *, wait: bool) -> ExitStatus:
    """Stop a job, and wait until it has ended.

    Raises:
        FatalError: the head does not know the job.
    """
    attempt = _find(client, submission_id)
    if attempt.has_ended:
        _print(console, f"{attempt.id} has ended already ({attempt.status.value})")
        return ExitStatus.COMPLETE
    client.stop_job(attempt.id)
    _print(console, f"stopping {attempt.id}; it finishes its shards in flight, or saves the state of its training")
    if wait:
        details = _wait(client, attempt.id, write=lambda _: None)
        _print(console, f"{attempt.id} has ended ({details.status.value}); {_RESUME_HINT}")
    return ExitStatus.COMPLETE


def _find(client: JobClient, submission_id: str) -> Attempt:
    """Return the newest attempt of a job, or the attempt with this id."""
    attempts = find_attempts(client, submission_id)
    if not attempts:
        running = ", ".join(running_ids(client)) or "none"
        raise FatalError(f"{client.address}: no job {excerpt(submission_id)} was submitted; running jobs: {running}")
    return attempts[-1]


def _follow(client: JobClient, attempt_id: str, console: Console) -> int:
    """Copy the log of a job to stdout until it has ended, and return its exit status."""
    try:
        details = _wait(client, attempt_id, _write)
    except KeyboardInterrupt:
        again = _follow_command(client, attempt_id)
        print_error(f"{attempt_id} continues on the cluster; follow it with: {again}; --stop stops it")
        return ExitStatus.INTERRUPTED
    return _exit_status(details)


def _wait(client: JobClient, attempt_id: str, write: Callable[[str], None]) -> JobDetails:
    """Follow a job until it has ended. If it cannot be followed any more, the error names the command that can."""
    try:
        return follow(client, attempt_id, write, print_error)
    except LostJobError:
        raise
    except (ClusterError, FatalError) as error:
        again = _follow_command(client, attempt_id)
        raise type(error)(f"{error}; {attempt_id} may be running, follow it with: {again}") from None


def _exit_status(details: JobDetails) -> int:
    """Return the exit status of a job that has ended, and print why if its log does not say it."""
    code = details.driver_exit_code
    if details.status == JobStatus.SUCCEEDED:
        return ExitStatus.COMPLETE
    if details.status == JobStatus.STOPPED:
        print_error(f"{details.submission_id} was stopped; {_RESUME_HINT}")
        return ExitStatus.INTERRUPTED
    if code is None:
        print_error(f"{details.submission_id}: {excerpt(details.message or 'failed', _MAX_CHARS)}")
        return ExitStatus.FAILED
    if code < 0:
        print_error(f"{details.submission_id}: the driver was killed by {signal.Signals(-code).name}; {_RESUME_HINT}")
        return ExitStatus.FAILED
    return code


def _follow_command(client: JobClient, attempt_id: str) -> str:
    return f"xlm submit --submission-id {attempt_id} --address {client.address}"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False)
