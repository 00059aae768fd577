"""`xlm plan`: list the input files of a job and their shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.console import print_json
from pipelines.corpus import ShardLimits, make_plan, planned_shards
from pipelines.formatting import format_count, format_size, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.job import Job


def print_plan(job: Job, console: Console, limit: int, *, as_json: bool = False) -> None:
    """Print the number of shards and rows and the size of each input file, and the totals.

    Args:
        job: the job.
        console: where to print.
        limit: maximum number of files to list; the totals are those of all files.
        as_json: print JSON instead of text.
    """
    plan = make_plan(job.input, ShardLimits(job.output.rows_per_shard), job.storage)
    files: dict[str, list[int]] = {}  # num_shards, num_rows and size_bytes
    for shard in planned_shards(plan.shards):
        for file in dict.fromkeys(member.file for member in shard.members):
            files.setdefault(file, [0, 0, 0])[0] += 1
        for member in shard.members:
            files[member.file][1] += member.num_rows
            files[member.file][2] = member.size_bytes
    listed = list(files.items())[:limit]
    if as_json:
        names = ("shards", "rows", "size_bytes")
        print_json(
            {
                "rows": plan.num_rows,
                "shards": len(plan.shards),
                "num_files": len(files),
                "files": [{"file": file, **dict(zip(names, counts, strict=True))} for file, counts in listed],
                "pruned": {"rows": plan.pruned.num_rows, "row_groups": plan.pruned.num_row_groups},
                "notes": plan.corpus.notes,
            }
        )
        return
    # File names are long, and are printed whole: a table would cut them, and drop the numbers, at the terminal's width.
    console.print(f"{'shards':>6}  {'rows':>11}  {'size':>11}  file", style="bold")
    for file, (num_shards, num_rows, size_bytes) in listed:
        line = f"{num_shards:>6,}  {num_rows:>11,}  {format_size(size_bytes):>11}  {one_line(file)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(files) > limit:
        console.print(f"… and {format_count(len(files) - limit, 'more file')} (--limit)", highlight=False)
    rows, shards = format_count(plan.num_rows, "row"), format_count(len(plan.shards), "shard")
    totals = f"{rows} of {format_count(len(files), 'file')} in {shards}"
    console.print(totals, highlight=False, style="bold")
    if plan.pruned.num_rows:
        pruned = format_count(plan.pruned.num_rows, "row")
        groups = format_count(plan.pruned.num_row_groups, "row group")
        console.print(f"not read: {pruned} of {groups} that input.filter drops, by their statistics", highlight=False)
    for note in plan.corpus.notes:
        console.print(note, highlight=False, markup=False)
