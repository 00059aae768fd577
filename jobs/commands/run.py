"""`xlm run`: run a job, or resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from pipelines.errors import RESUME_HINT, FatalError
from pipelines.formatting import closest_name, excerpt
from pipelines.report import summary_lines
from pipelines.rows import RejectionReason
from pipelines.run import run

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console

    from pipelines.job import Job


def parse_reasons(names: Sequence[str] | None) -> list[RejectionReason]:
    """Return the reasons for which rejected rows are computed again.

    Args:
        names: as on the command line; None for the default.

    Raises:
        FatalError: there is no such reason.
    """
    known = [reason.value for reason in RejectionReason]
    for name in names or ():
        if name not in known:
            similar = closest_name(name, known)
            hint = f"did you mean {similar}?" if similar else f"reasons are {', '.join(known)}"
            raise FatalError(f"--reasons: {excerpt(name)!r} is not a reason of rejections; {hint}")
    return [RejectionReason.KILLED_WORKER] if names is None else [RejectionReason(name) for name in names]


def run_job(job: Job, console: Console, retry_rejected: Collection[str] = ()) -> ExitStatus:
    """Run a job and print a summary.

    Args:
        job: the job.
        console: where to print.
        retry_rejected: recompute shards that have rows rejected for these reasons.
    """
    report = run(job, console, retry_rejected)
    for line in summary_lines(report):
        console.print(line, highlight=False, markup=False)
    if report["status"] == "interrupted":
        print_error(f"interrupted; {RESUME_HINT}")
        return ExitStatus.INTERRUPTED
    if report["status"] == "storage failed":
        print_error(f"{report['failed'][0]['error']}; {RESUME_HINT} once this is fixed")
        return ExitStatus.FAILED
    if report["status"] == "too many rejected rows":
        print_error(report["too_many_rejected"])
    return ExitStatus.COMPLETE if report["status"].startswith("complete") else ExitStatus.INCOMPLETE
