"""What all commands print in the same way: errors and tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def open_console() -> Console:
    """Open the console of a command's results. Off a terminal, lines are not wrapped."""
    return Console(soft_wrap=not sys.stdout.isatty())


def print_error(*lines: str) -> None:
    """Print lines to stderr, each with the prefix `xlm:`."""
    console = Console(stderr=True, soft_wrap=True)
    for line in lines:
        console.print(f"[red]xlm:[/] {escape(one_line(line))}", highlight=False)


def make_table(first: str, numbers: Sequence[str] = (), texts: Sequence[str] = ()) -> Table:
    """Return a table without lines.

    Args:
        first: title of the first column, which is never wrapped.
        numbers: titles of the columns after it, aligned to the right.
        texts: titles of the last columns.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right")
    for title in texts:
        table.add_column(title)
    return table
