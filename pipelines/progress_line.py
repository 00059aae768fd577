"""A line of text that shows progress: updated in place on a terminal, printed every 10 seconds elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console

_PLAIN_LINE_EVERY_S = 10.0


class ProgressLine:
    """A line of text that shows how far some work is.

    Args:
        console: where the line is shown.
        text: returns the current text of the line.
    """

    def __init__(self, console: Console, text: Callable[[], str]):
        self._console, self._text = console, text
        self._printed = time.monotonic()

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the line for the duration of a `with` block."""
        if self._console.is_terminal:
            with Live(get_renderable=self._line, console=self._console, refresh_per_second=4, transient=True):
                yield
        else:
            yield

    def update(self) -> None:
        """Print the line if the console is no terminal and the last line is 10 seconds old."""
        if not self._console.is_terminal and time.monotonic() - self._printed >= _PLAIN_LINE_EVERY_S:
            self._printed = time.monotonic()
            self._console.print(self._line(), highlight=False)

    def _line(self) -> Text:
        return Text(self._text(), no_wrap=True, overflow="ellipsis")
