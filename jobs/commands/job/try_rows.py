"""`xlm try`: compute a few rows of a job in this process, and print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from jobs.commands.job.lang_table import lang_table
from jobs.preview import print_preview, read_preview
from pipelines.formatting import format_count, one_line
from pipelines.run import compute_sample, prepare_job

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.job import Job


def try_rows(job: Job, num_rows: int, console: Console) -> None:
    """Compute some rows of a job, without Ray and without writing, and print their results and languages.

    Args:
        job: the job.
        num_rows: maximum number of rows.
        console: where to print.

    Raises:
        FatalError: the job cannot run, or a stage fails.
    """
    with console.status("loading the model"):
        prepared = prepare_job(job)
    for warning in prepared.warnings:
        console.print(Text(f"warning: {one_line(warning)}", "yellow"), soft_wrap=True)
    with console.status("computing"):
        output = compute_sample(prepared, num_rows)
        preview = read_preview(output.location, num_rows)
    print_preview(preview, console)
    console.print()
    console.print(lang_table(preview.totals.langs))
    rows, shards = format_count(prepared.plan.num_rows, "row"), format_count(preview.totals.num_shards, "shard")
    sampled = preview.totals.counts["rows_in"]
    line = f"{sampled:,} of {rows}, from {shards} of {len(prepared.plan.shards):,}; nothing was written"
    console.print(Text(line, "bold"), soft_wrap=True)
