"""What all commands print in the same way: errors, tables and JSON."""

from __future__ import annotations

import base64
import json
import math
import numbers
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def open_console(*, as_json: bool = False) -> Console:
    """Open the console of a command's results, or if these are printed as JSON, of its messages, on stderr.

    Off a terminal, lines are not wrapped.
    """
    stream = sys.stderr if as_json else sys.stdout
    return Console(stderr=as_json, soft_wrap=not stream.isatty())


def print_json(value: Any) -> None:
    """Print a value as JSON in UTF-8 to stdout.

    Numbers that are not finite become null, bytes become Base64, and dates, times and decimals become text.
    """
    text = json.dumps(_to_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    # a surrogate that is alone cannot be encoded; its escape in Python is that of JSON
    click.echo(text.encode("utf-8", "backslashreplace"))


def _to_json(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case Mapping():
            return {str(key): _to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_to_json(item) for item in value]
        case bytes():
            return base64.b64encode(value).decode()
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value) if math.isfinite(value) else None
        case _:
            return str(value)


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
