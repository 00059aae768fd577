"""`xlm gc`: remove what killed runs left in an output, and nothing that a record of its ledger accounts for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pipelines.formatting import format_count, format_size, one_line
from pipelines.output import Output, find_orphans
from pipelines.storage import locate

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.output import Orphan


def collect(url: str, console: Console, *, dry_run: bool) -> None:
    """List what no record accounts for, and remove what of it is ours.

    Args:
        url: the output, as path or URL.
        console: where to.
        dry_run: only list; a run may then be alive.

    Raises:
        FatalError: it is no output, its ledger is damaged or gone, or a run is writing to it.
    """
    output = Output(locate(url))
    output.read_existing_job()
    if dry_run:
        orphans = _list(output, console)
    else:
        with output.lock() as lock:
            orphans = _list(output, console)
            for orphan in orphans:
                lock.check()
                orphan.location.delete()
    if orphans:
        total = format_size(sum(orphan.size_bytes for orphan in orphans))
        done = f"{'would remove' if dry_run else 'removed'} {format_count(len(orphans), 'file')}, {total}"
        console.print(done, style="bold", highlight=False)
    else:
        console.print("nothing to remove: the ledger accounts for all that is there", highlight=False)
    if orphans and not output.is_complete:
        note = "the output is incomplete, and a run that goes on would replace such results anyway"
        alive = "; of a run that is on its way, what it has not committed yet is listed too" if dry_run else ""
        console.print(note + alive, style="yellow", highlight=False)


def _list(output: Output, console: Console) -> list[Orphan]:
    """Print what nothing accounts for, by what it is, and give what of it is ours."""
    found = find_orphans(output)
    groups: dict[str, list[Orphan]] = {}
    for orphan in sorted(found, key=lambda orphan: not orphan.is_removable):
        groups.setdefault(orphan.description, []).append(orphan)
    for why, orphans in groups.items():
        console.print(Text(f"{why}:" if orphans[0].is_removable else f"{why}; not removed:"))
        for orphan in orphans:
            console.print(Text(f"{format_size(orphan.size_bytes):>12}  {one_line(orphan.path)}"), soft_wrap=True)
    return [orphan for orphan in found if orphan.is_removable]
