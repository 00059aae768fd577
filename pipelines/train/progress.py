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
        corpus: the rows.
        counts: receives the counts of each shard, by its id.
    """

    def __init__(self, console: Console, corpus: ExampleCorpus, counts: dict[str, Any]):
        self._line = ProgressLine(console, self._text)
        shards, sizes = corpus.shards["shard"].to_pylist(), corpus.shards["num_rows"].to_pylist()
        self._planned: dict[str, int] = dict(zip(shards, sizes, strict=True))
        self._title, self._num_rows, self._num_done = corpus.title, sum(sizes), 0
        self._counts = counts

    @contextmanager
    def show(self) -> Generator[None]:
        """Show the line for the duration of a `with` block."""
        with self._line.show():
            yield

    def add(self, shard: EncodedShard) -> None:
        """Count a shard."""
        self._counts[shard.shard] = {
            "rows": shard.num_rows,
            "examples": shard.num_examples,
            "reasons": shard.reasons,
        }
        self._num_done += self._planned[shard.shard]
        self._line.update()

    def _text(self) -> str:
        return f"{self._title}: {self._num_done:,} of {format_count(self._num_rows, 'row')} encoded"


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
