"""`xlm show`: show the state of an output, its columns, and some of its rows, during a run or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from jobs.preview import print_preview, read_preview
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.results import render_text
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from jobs.preview import Preview


def show(out: str, limit: int, console: Console) -> None:
    """Print a preview of a job's output: its state, its columns, some rows, and the rejected rows.

    Args:
        out: the output directory, as path or URL.
        limit: maximum number of rows to print.
        console: where to print.

    Raises:
        FatalError: there is no output, no results yet, or they cannot be read.
    """
    try:
        preview = read_preview(locate(out), limit)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise FatalError(f"{out}: cannot be read ({reason}); check the path and your access to it") from None
    print_preview(preview, console, _state_lines(out, preview))


def _state_lines(out: str, preview: Preview) -> Iterator[Text]:
    rows_in = sum(record.rows_in for record in preview.records)
    rows_out = sum(record.rows_out for record in preview.records)
    rows_rejected = sum(record.rows_rejected for record in preview.records)
    rows_truncated = sum(record.rows_truncated for record in preview.records)
    state = Text("complete", "bold green") if preview.complete else Text("incomplete", "bold yellow")
    yield Text.assemble((render_text(out), "bold"), "  ", state)
    yield Text(
        f"{format_count(rows_in, 'row')} in = {rows_out:,} out + {rows_rejected:,} rejected; "
        f"{rows_truncated:,} truncated; {len(preview.records):,} of {format_count(preview.num_planned, 'shard')}"
    )
    if preview.too_many_rejected and not preview.complete:
        yield Text(preview.too_many_rejected, "yellow", no_wrap=False, overflow="fold")
    elif not preview.complete:
        yield Text("A run is in progress, or was stopped; run the same job again to resume it.", "yellow")
