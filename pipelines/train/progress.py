"""Show how far the encoding of examples and the training are, in a line on a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.formatting import format_count, format_duration
from pipelines.progress_line import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

    from pipelines.train.examples import EncodedShard, ExampleCorpus


class EncodingProgress:
    """Counts rows as shards are encoded.

    Args:
        console: where the line is shown.
        num_rows: of all shards.
        counts: receives the counts of each shard, by the title of its corpus and its id.
    """

    def __init__(self, console: Console, num_rows: int, counts: dict[str, Any]):
        self._line = ProgressLine(console, self._text)
        self._num_rows, self._num_done, self._counts = num_rows, 0, counts

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the line for the duration of a `with` block."""
        with self._line.show():
            yield

    def describe_rows(self) -> str:
        """Return the number of rows, such as `up to 2,000 rows`: the filter may drop some of them."""
        return f"up to {format_count(self._num_rows, 'row')}"

    def add(self, corpus: ExampleCorpus, shard: EncodedShard) -> None:
        """Count a shard."""
        self._counts[corpus.title][shard.shard] = {
            "rows": shard.num_rows,
            "examples": shard.num_examples,
            "reasons": shard.reasons,
        }
        self._num_done += shard.num_rows
        self._line.update()

    def _text(self) -> str:
        return f"{self._num_done:,} of {self.describe_rows()} encoded"


class TrainingProgress:
    """Shows steps, losses and tokens per second.

    Args:
        console: where the line is shown.
    """

    def __init__(self, console: Console):
        self._line = ProgressLine(console, self._text)
        self._progress: dict[str, Any] = {}

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the line for the duration of a `with` block."""
        with self._line.show():
            yield

    def update(self, progress: dict[str, Any]) -> None:
        """Show how far the training is; see `messages.put_progress`."""
        self._progress = progress or self._progress
        self._line.update()

    def _text(self) -> str:
        progress = self._progress
        if not progress:
            return "starting the workers"
        fields = [f"step {progress['step']:,} of {progress['steps']:,}"]
        fields += [f"{name} loss {loss:.3f}" for name, loss in progress["losses"].items()]
        if progress["seconds"] > 0:
            fields.append(f"{progress['tokens'] / progress['seconds']:,.0f} tokens/s")
            if progress["step"]:
                left = progress["seconds"] / progress["step"] * (progress["steps"] - progress["step"])
                fields.append(f"{format_duration(left)} left")
        return "  ".join(fields)
