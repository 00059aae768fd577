"""`xlm check`: validate a job, its corpus and its checkpoint before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from jobs.console import make_table
from jobs.job_file import dump_job
from pipelines.formatting import format_count, format_type
from pipelines.run import prepare_job

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.job import Job


def check_job(job: Job, console: Console, *, show_defaults: bool) -> None:
    """Prepare a job as a run does, without Ray, and print the columns of its output.

    Args:
        job: the job.
        console: where to print.
        show_defaults: also print the job file with all defaults.

    Raises:
        FatalError: the job cannot run.
    """
    prepared = prepare_job(job)
    if show_defaults:
        console.print(dump_job(prepared.job), highlight=False, markup=False)
    table = make_table("column", texts=["type"])
    for field in prepared.stages.write.schema:
        table.add_row(escape(field.name), escape(format_type(field.type)))
    console.print(table)
    for line in (*prepared.notes, *(f"warning: {warning}" for warning in prepared.warnings)):
        console.print(line, highlight=False, markup=False)
    rows, shards = format_count(prepared.plan.num_rows, "row"), format_count(len(prepared.plan.shards), "shard")
    for note in prepared.plan.notes:
        console.print(note, highlight=False, markup=False)
    console.print(f"the job can run: {rows} in {shards}", highlight=False, style="bold")
