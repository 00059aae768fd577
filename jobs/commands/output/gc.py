"""`xlm gc`: remove files that stopped runs left in an output, and that its ledger does not account for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.text import Text

from pipelines.formatting import format_count, format_size, one_line
from pipelines.output import Output, find_orphans
from pipelines.storage import locate

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.output import Orphan


def remove_orphans(url: str, console: Console, *, dry_run: bool) -> None:
    """List all files that the ledger does not account for, and remove those that a run wrote.

    Args:
        url: the output, as path or URL.
        console: where to print.
        dry_run: only list the files. This is allowed during a run.

    Raises:
        FatalError: it is not an output, its ledger is damaged or missing, or a run is writing to it.
    """
    output = Output(locate(url))
    output.read_existing_job()
    with nullcontext() if dry_run else output.lock() as lock:
        found = _list(output, console)
        orphans = [orphan for orphan in found if orphan.is_removable]
        if lock is not None:
            for orphan in orphans:
                lock.check()
                orphan.location.delete()
    if not orphans:
        reason = "" if found else ": the ledger accounts for every file"
        console.print(f"nothing to remove{reason}", highlight=False)
        return
    total_size = format_size(sum(orphan.size_bytes for orphan in orphans))
    verb = "would remove" if dry_run else "removed"
    console.print(f"{verb} {format_count(len(orphans), 'file')}, {total_size}", style="bold", highlight=False)
    if not output.is_complete:
        note = "the output is incomplete; a resumed run would adopt or replace them"
        during_run = "; the list includes results that a current run has not committed yet" if dry_run else ""
        console.print(note + during_run, style="yellow", highlight=False)


def _list(output: Output, console: Console) -> list[Orphan]:
    """Print all orphans, grouped by their description, and return them."""
    found = find_orphans(output)
    groups: dict[str, list[Orphan]] = {}
    for orphan in sorted(found, key=lambda orphan: not orphan.is_removable):
        groups.setdefault(orphan.description, []).append(orphan)
    for description, orphans in groups.items():
        console.print(Text(f"{description}:" if orphans[0].is_removable else f"{description}; not removed:"))
        for orphan in orphans:
            console.print(Text(f"{format_size(orphan.size_bytes):>12}  {one_line(orphan.path)}"), soft_wrap=True)
    return found
