"""The progress of a run: one line that renews itself on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from pipelines.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

_PLAIN_EVERY_S = 10.0


class Progress:
    """Counts rows and tokens as shards are committed.

    Args:
        console: where the line goes.
        rows: rows of the corpus to go through in this run.
    """

    def __init__(self, console: Console, rows: int):
        self._console = console
        self._total = rows
        self.tokens = 0
        self._rows = self._rejected = self._failed = 0
        self._began = self._said = time.monotonic()
        self._first: tuple[float, int] | None = None  # when work was first seen done, and how many rows

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the line for the length of a `with` block."""
        if self._console.is_terminal:
            with Live(get_renderable=self._text, console=self._console, refresh_per_second=4, transient=True):
                yield
        else:
            yield

    def count(self, record: dict[str, Any]) -> None:
        """Count a shard that is done."""
        self._rows += record["rows_read"]
        self.tokens += record["tokens"]
        self._rejected += record["rows_rejected"]
        self._say()

    def count_failed(self, rows: int) -> None:
        """Count a shard of so many rows that could not be done."""
        self._rows += rows
        self._failed += 1
        self._say()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def _say(self) -> None:
        now = time.monotonic()
        self._first = self._first or (now, self._rows)
        if not self._console.is_terminal and now - self._said >= _PLAIN_EVERY_S:
            self._said = now
            self._console.print(self._text(), highlight=False)

    def _text(self) -> Text:
        share = self._rows / self._total if self._total else 1.0
        parts = [f"{self._rows:,} of {self._total:,} rows ({share:.0%})"]
        if self._first is None:
            parts.append(f"starting, {duration(self.elapsed_s)}")
        else:
            parts.append(f"{self.tokens / max(self.elapsed_s, 1e-3):,.0f} tokens/s")
            began, before = self._first  # what it took to start up says nothing of what is left
            if before < self._rows < self._total:
                left_s = (time.monotonic() - began) * (self._total - self._rows) / (self._rows - before)
                parts.append(f"{duration(left_s)} left")
        if self._rejected:
            parts.append(f"{self._rejected:,} rejected")
        if self._failed:
            parts.append(f"{self._failed:,} shards failed")
        return Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
