"""`xlm show`: show the state of an output, its columns, and some of its rows, during a run or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from jobs.console import print_json
from jobs.preview import preview_to_json, print_preview, read_preview
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.results import render_text
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from jobs.preview import Preview


def show(out: str, limit: int, console: Console, *, as_json: bool = False) -> None:
    """Print a preview of a job's output: its state, its columns, some rows, and the rejected rows.

    Args:
        out: the output directory, as path or URL.
        limit: maximum number of rows to print.
        console: where to print.
        as_json: print JSON instead of text.

    Raises:
        FatalError: there is no output, no results yet, or they cannot be read.
    """
    try:
        preview = read_preview(locate(out), limit)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise FatalError(f"{out}: cannot be read ({reason}); check the path and your access to it") from None
    if as_json:
        print_json(_state(out, preview) | preview_to_json(preview))
    else:
        print_preview(preview, console, _state_lines(out, preview))


def _state(out: str, preview: Preview) -> dict[str, Any]:
    counts = ("rows_in", "rows_out", "rows_rejected", "rows_truncated")
    return {
        "output": out,
        "complete": preview.complete,
        **{name: preview.totals.counts[name] for name in counts},
        "shards": preview.totals.num_shards,
        "shards_planned": preview.num_planned,
        "too_many_rejected": preview.too_many_rejected,
    }


def _state_lines(out: str, preview: Preview) -> Iterator[Text]:
    state, shown = _state(out, preview), Text("incomplete", "bold yellow")
    if preview.complete:
        shown = Text("complete", "bold green")
    yield Text.assemble((render_text(out), "bold"), "  ", shown)
    yield Text(
        f"{format_count(state['rows_in'], 'row')} in = {state['rows_out']:,} out + {state['rows_rejected']:,} "
        f"rejected; {state['rows_truncated']:,} truncated; {state['shards']:,} of "
        f"{format_count(state['shards_planned'], 'shard')}"
    )
    if preview.too_many_rejected and not preview.complete:
        yield Text(preview.too_many_rejected, "yellow", no_wrap=False, overflow="fold")
    elif not preview.complete:
        yield Text("A run is in progress, or was stopped; run the same job again to resume it.", "yellow")
