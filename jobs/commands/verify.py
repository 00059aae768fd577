"""`xlm verify`: say whether an output is proved to be what its job promised, or what is not."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.formatting import counted, size
from pipelines.output.directory import Output
from pipelines.storage import locate
from pipelines.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console

    from pipelines.verify import Verdict

_MAX_PROBLEMS = 20
_PLAIN_EVERY_S = 10.0


def verify_output(out: str, console: Console) -> bool:
    """Check an output and print what was checked, and what is wrong with it.

    Args:
        out: the job's output directory, as path or URL.
        console: where to.

    Returns:
        Whether it is complete, and all that its job promised is proved.

    Raises:
        FatalError: there is no output, or it cannot be read at all.
        RetryableError: its storage fails.
    """
    with _shown(console) as progress:
        verdict = verify(Output(locate(out)), progress)
    console.print(_counts(verdict))
    for note in verdict.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    for problem in verdict.problems[:_MAX_PROBLEMS]:
        console.print(f"[red]problem:[/] {escape(str(problem))}", highlight=False)
    if len(verdict.problems) > _MAX_PROBLEMS:
        console.print(f"… and {len(verdict.problems) - _MAX_PROBLEMS:,} more", highlight=False)
    console.print(_closing(out, verdict), highlight=False)
    return verdict.verified


def _counts(verdict: Verdict) -> Table:
    counts, table = verdict.counts, Table("checked", "", box=None, header_style="bold")
    table.add_row("shards", f"{verdict.done:,} of {verdict.planned:,}")
    table.add_row("rows", f"{counts['rows_out']:,} out, {counts['rows_rejected']:,} rejected")
    table.add_row("files", size(counts["bytes"]))
    for name in ("vectors", "spans"):
        if counts[name]:
            table.add_row(name, f"{counts[name]:,}")
    return table


def _closing(out: str, verdict: Verdict) -> str:
    left = verdict.planned - verdict.done
    if verdict.problems:
        return f"[bold red]not verified:[/] {escape(out)} has {counted(len(verdict.problems), 'problem')}"
    if left:
        what = f"{counted(left, 'shard')} still to do; run the job again to go on"
    else:
        what = "every shard is done, but the last run was stopped, or rejected too many rows; run the job again"
    if not verdict.complete:
        return f"[bold yellow]incomplete:[/] {escape(out)} is sound as far as it goes; {what}"
    return f"[bold green]verified:[/] {escape(out)} holds every planned row once, or rejected with its reason"


@contextmanager
def _shown(console: Console) -> Generator[Callable[[int, int], None]]:
    """Show how far the check is: a bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        said = time.monotonic()

        def say(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= _PLAIN_EVERY_S:
                said = time.monotonic()
                console.print(f"{done:,} of {total:,} rows checked", highlight=False)

        yield say
        return
    columns = TextColumn("checking rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)
