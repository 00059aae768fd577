"""A progress bar on a terminal's standard error, or in a notebook, for calls that take longer than a second."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType

_SHOW_AFTER_S = 1.0
_REFRESH_S = 0.1  # an update of the bar takes 0.1 ms, as long as tokenizing some words


class CallProgress(AbstractContextManager["CallProgress"]):
    """Shows how many texts of a call are tokenized, and how many rows are computed.

    Args:
        num_texts: number of texts.
        num_rows: number of rows, each of which has one or more texts.
        enabled: False shows nothing.
    """

    def __init__(self, num_texts: int, num_rows: int, *, enabled: bool):
        console = Console(stderr=True)
        self._console = console if enabled and (console.is_terminal or console.is_jupyter) else None
        self._totals = {"tokenize": num_texts, "compute": num_rows}
        self._counts = {"tokenize": 0.0, "compute": 0.0}
        self._next_update = time.monotonic() + _SHOW_AFTER_S
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._show(self._bar)
            self._bar.stop()

    def count_tokenized(self) -> None:
        """Count a text that is tokenized."""
        self._update("tokenize", self._counts["tokenize"] + 1)

    def set_computed(self, num_rows: float) -> None:
        """Set the number of rows that are computed."""
        self._update("compute", num_rows)

    def _update(self, name: str, count: float) -> None:
        self._counts[name] = count
        if self._console is None or time.monotonic() < self._next_update:
            return
        self._next_update = time.monotonic() + _REFRESH_S
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._tasks = {name: self._bar.add_task(name, total=total) for name, total in self._totals.items()}
            self._bar.start()
        self._show(self._bar)

    def _show(self, bar: Progress) -> None:
        for name, task in self._tasks.items():
            bar.update(task, completed=int(self._counts[name]))
