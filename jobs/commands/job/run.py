"""`xlm run`: run a job, or resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from pipelines.errors import RESUME_HINT
from pipelines.log import announce, logger
from pipelines.report import summary_lines
from pipelines.run import run

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console

    from pipelines.job import Job


def run_job(job: Job, console: Console, retry_rejected: Collection[str] = ()) -> ExitStatus:
    """Run a job and print a summary.

    Args:
        job: the job.
        console: where to print.
        retry_rejected: recompute shards that have rows rejected for these reasons.
    """
    report = run(job, console, retry_rejected)
    if not console.is_terminal:
        announce(console, "ended", status=report["status"], **_counts(report))
    for line in summary_lines(report):
        logger.info("%s", line)
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


def _counts(report: dict[str, Any]) -> dict[str, object]:
    totals, run_ = report["totals"], report["run"]
    return {
        "rows": totals["rows_out"],
        "rejected": totals["rows_rejected"],
        "failed_shards": totals["failed_shards"],
        "tokens": run_["tokens"],
        "elapsed_s": run_["elapsed_s"],
    }
