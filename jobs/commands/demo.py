"""`xlm demo`: write the demo's corpus, checkpoint and job, run the job and show its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.commands.run import run_job
from jobs.commands.show import show
from jobs.demo import write_demo
from jobs.job_file import load_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from jobs.exit_status import ExitStatus


def run_demo(folder: Path, overrides: Sequence[str], console: Console, limit: int) -> ExitStatus:
    """Run the demo.

    Args:
        folder: where the demo's files are written.
        overrides: settings of the job, as `KEY=VALUE`.
        console: where to print.
        limit: maximum number of rows to show.

    Returns:
        The exit status of the run.
    """
    job = write_demo(folder)
    console.print(f"xlm run {job}", style="bold", highlight=False)
    status = run_job(load_job(job, overrides), console)
    console.print()
    show(str(job.parent / "out"), limit, console)
    console.print(
        "\nThe demo's checkpoint has random weights from a fixed seed. Its embeddings and labels only show the format "
        "of results.",
        style="yellow",
        highlight=False,
    )
    return status
