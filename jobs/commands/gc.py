"""`xlm gc`: remove what killed runs left in an output, and nothing that a record of its ledger accounts for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pipelines.formatting import counted, one_line, size
from pipelines.output.directory import Output
from pipelines.output.orphans import find_leftovers
from pipelines.storage import locate

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.output.orphans import Leftover


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
    output.known_job()
    if dry_run:
        leftovers = _list(output, console)
    else:
        with output.lock() as lock:
            leftovers = _list(output, console)
            for leftover in leftovers:
                lock.check()
                leftover.location.delete()
    if leftovers:
        total = size(sum(leftover.size_bytes for leftover in leftovers))
        done = f"{'would remove' if dry_run else 'removed'} {counted(len(leftovers), 'file')}, {total}"
        console.print(done, style="bold", highlight=False)
    else:
        console.print("nothing to remove: the ledger accounts for all that is there", highlight=False)
    if leftovers and not output.is_complete:
        note = "the output is incomplete, and a run that goes on would replace such results anyway"
        alive = "; of a run that is on its way, what it has not committed yet is listed too" if dry_run else ""
        console.print(note + alive, style="yellow", highlight=False)


def _list(output: Output, console: Console) -> list[Leftover]:
    """Print what nothing accounts for, by what it is, and give what of it is ours."""
    found = find_leftovers(output)
    groups: dict[str, list[Leftover]] = {}
    for leftover in sorted(found, key=lambda leftover: not leftover.is_ours):
        groups.setdefault(leftover.why, []).append(leftover)
    for why, leftovers in groups.items():
        console.print(Text(f"{why}:" if leftovers[0].is_ours else f"{why}; left alone:"))
        for leftover in leftovers:
            console.print(Text(f"{size(leftover.size_bytes):>12}  {one_line(leftover.name)}"), soft_wrap=True)
    return [leftover for leftover in found if leftover.is_ours]
