"""`xlm plan`: list the input files of a job and their shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from jobs.console import make_table
from pipelines.corpus import make_plan
from pipelines.formatting import format_count

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.job import Job


def print_plan(job: Job, console: Console, limit: int) -> None:
    """Print the number of shards and rows and the size of each input file, and the totals.

    Args:
        job: the job.
        console: where to print.
        limit: maximum number of files to list; the totals are those of all files.
    """
    plan = make_plan(job.input, job.output.rows_per_shard, job.storage)
    table = make_table("file", ["shards", "rows", "MB"])
    files: dict[str, list[int]] = {}  # num_shards, num_rows and size_bytes
    for shard in plan.shards.to_pylist():
        counts = files.setdefault(shard["file"], [0, 0, shard["size"]])
        counts[0] += 1
        counts[1] += shard["num_rows"]
    for file, (num_shards, num_rows, size_bytes) in list(files.items())[:limit]:
        table.add_row(escape(file), f"{num_shards:,}", f"{num_rows:,}", f"{size_bytes / 1e6:,.1f}")
    console.print(table)
    if len(files) > limit:
        console.print(f"… and {format_count(len(files) - limit, 'more file')} (--limit)", highlight=False)
    rows, shards = format_count(plan.num_rows, "row"), format_count(len(plan.shards), "shard")
    totals = f"{rows} of {format_count(len(files), 'file')} in {shards}"
    console.print(totals, highlight=False, style="bold")
    if plan.pruned.num_rows:
        pruned = format_count(plan.pruned.num_rows, "row")
        groups = format_count(plan.pruned.num_row_groups, "row group")
        console.print(f"not read: {pruned} of {groups} that input.filter drops, by their statistics", highlight=False)
    for note in plan.notes:
        console.print(note, highlight=False, markup=False)
