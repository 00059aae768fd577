"""`xlm verify`: check whether an output is complete and correct."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from jobs.console import make_table, print_json
from pipelines.formatting import format_count, format_size
from pipelines.output import Output
from pipelines.progress_line import ProgressLine
from pipelines.storage import locate
from pipelines.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console
    from rich.table import Table

    from pipelines.verify import Verdict

_MAX_PROBLEMS = 20


def verify_output(out: str, console: Console, *, as_json: bool = False) -> bool:
    """Check an output, and print the number of values checked and the problems found.

    Args:
        out: the job's output directory, as path or URL.
        console: where to print.
        as_json: print JSON instead of text.

    Returns:
        Whether the output is complete and has no problems.

    Raises:
        FatalError: there is no output, or it cannot be read.
        RetryableError: the storage failed.
    """
    with _show_progress(console) as progress:
        verdict = verify(Output(locate(out)), progress)
    if as_json:
        print_json(_to_json(out, verdict))
        return verdict.verified
    console.print(_build_table(verdict))
    for note in verdict.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    for problem in verdict.problems[:_MAX_PROBLEMS]:
        console.print(f"[red]problem:[/] {escape(str(problem))}", highlight=False)
    if len(verdict.problems) > _MAX_PROBLEMS:
        console.print(f"… and {len(verdict.problems) - _MAX_PROBLEMS:,} more", highlight=False)
    console.print(_summarize(out, verdict), highlight=False)
    return verdict.verified


def _to_json(out: str, verdict: Verdict) -> dict[str, Any]:
    counts = ("rows_out", "rows_rejected", "bytes", "vectors", "spans")
    return {
        "output": out,
        "verified": verdict.verified,
        "complete": verdict.complete,
        "shards": verdict.done,
        "shards_planned": verdict.planned,
        **{name: verdict.counts[name] for name in counts},
        "problems": [problem._asdict() for problem in verdict.problems],
        "too_many_rejected": verdict.too_many_rejected,
        "notes": verdict.notes,
    }


def _build_table(verdict: Verdict) -> Table:
    counts, table = verdict.counts, make_table("checked", texts=[""])
    table.add_row("shards", f"{verdict.done:,} of {verdict.planned:,}")
    table.add_row("rows", f"{counts['rows_out']:,} out, {counts['rows_rejected']:,} rejected")
    table.add_row("files", format_size(counts["bytes"]))
    for name in ("vectors", "spans"):
        if counts[name]:
            table.add_row(name, f"{counts[name]:,}")
    return table


def _summarize(out: str, verdict: Verdict) -> str:
    left = verdict.planned - verdict.done
    if verdict.problems:
        return f"[bold red]not verified:[/] {escape(out)} has {format_count(len(verdict.problems), 'problem')}"
    to_do = f"{format_count(left, 'shard')} still to do; " if left else ""
    if verdict.too_many_rejected:
        next_step = to_do + escape(verdict.too_many_rejected)
    elif left:
        next_step = f"{to_do}run the job again to resume it"
    else:
        next_step = "every shard is done, but the last run was stopped; run the job again to complete it"
    if not verdict.complete:
        return f"[bold yellow]incomplete:[/] {escape(out)} has no problems so far; {next_step}"
    return f"[bold green]verified:[/] {escape(out)} contains every planned row once, or its rejection with a reason"


@contextmanager
def _show_progress(console: Console) -> Generator[Callable[[int, int], None]]:
    """Show a progress line; yields a function that takes the number of rows checked and the number of all rows."""
    num_done = num_rows = 0
    line = ProgressLine(console, lambda: f"{num_done:,} of {format_count(num_rows, 'row')} checked")

    def update(done: int, total: int) -> None:
        nonlocal num_done, num_rows
        num_done, num_rows = done, total
        line.update()

    with line.show():
        yield update
