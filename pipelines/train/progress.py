"""Show how far encoding and training are: in a line on a terminal, as structured lines elsewhere."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from pipelines.formatting import format_count, format_duration, truncate
from pipelines.log import announce, log_event
from pipelines.progress_line import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

    from pipelines.train.examples import EncodedShard, ExampleCorpus

_LOG_EVERY_S = (10.0, 60.0)  # at first, and after some minutes
_FIRST_MINUTES_S = 180.0
_MIN_NAME_CHARS = 4  # of a truncated name of an objective


class _Progress:
    """Shows a line on a terminal. Logs fields from time to time, and prints them if the console is no terminal."""

    def __init__(self, console: Console, message: str, text: Callable[[], str], fields: Callable[[], dict[str, Any]]):
        self._console, self._message, self._fields = console, message, fields
        self._line = ProgressLine(console, text)
        self._started = self._logged = time.monotonic()

    def show(self) -> AbstractContextManager[None]:
        """Return a context in which the line is shown."""
        return self._line.show()

    def update(self) -> None:
        """Log the fields, if that is due."""
        now = time.monotonic()
        first, later = _LOG_EVERY_S
        if now - self._logged < (first if now - self._started < _FIRST_MINUTES_S else later):
            return
        self._logged = now
        if self._console.is_terminal:
            log_event(logging.INFO, self._message, **self._fields())
        else:
            announce(self._console, self._message, **self._fields())


class EncodingProgress:
    """Counts rows as shards are encoded.

    Args:
        console: where the line is shown.
        num_rows: of all shards.
        counts: receives the counts of each shard, by the title of its corpus and its id.
    """

    def __init__(self, console: Console, num_rows: int, counts: dict[str, Any]):
        self._progress = _Progress(console, "encoding", self._text, self._fields)
        self.show = self._progress.show
        self._num_rows, self._num_done, self._counts = num_rows, 0, counts

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
        self._progress.update()

    def _text(self) -> str:
        return f"{self._num_done:,} of {self.describe_rows()} encoded"

    def _fields(self) -> dict[str, Any]:
        return {"rows": self._num_done, "rows_planned": self._num_rows}


class TrainingProgress:
    """Shows steps, losses, tokens per second and evaluations.

    Args:
        console: where they are shown.
    """

    def __init__(self, console: Console):
        self._console = console
        self._progress = _Progress(console, "training", self._text, self._fields)
        self.show = self._progress.show
        self._state: dict[str, Any] = {}
        self._num_announced = 0  # steps whose evaluations are announced
        self._first: tuple[float, int] | None = None  # when the first step was counted, and how many were done

    def update(self, state: dict[str, Any]) -> None:
        """Show how far the training is; see `messages.put_progress`."""
        if not state:
            return
        self._state = state
        if self._first is None and state["step"] > state["resumed_at"]:
            self._first = (time.monotonic(), state["step"])
        self._progress.update()
        announced = max(self._num_announced, state["resumed_at"])
        for evaluation in state["evaluations"]:
            if evaluation["step"] > announced:
                self._announce(evaluation)
                self._num_announced = evaluation["step"]

    def _announce(self, evaluation: dict[str, Any]) -> None:
        step, name, loss, accuracy = (evaluation[key] for key in ("step", "objective", "loss", "accuracy"))
        if self._console.is_terminal:
            share = "" if accuracy is None else f", accuracy {accuracy:.2%}"
            announce(self._console, f"step {step:,}: {name} loss on dev {loss:.4f}{share}")
        else:
            announce(self._console, "evaluated", step=step, objective=name, dev_loss=loss, dev_accuracy=accuracy)

    def _seconds_left(self) -> float | None:
        """Estimate the time for the remaining steps with their evaluations, without that of the start."""
        if self._first is None or self._state["step"] <= self._first[1]:
            return None
        first_time, first_step = self._first
        state = self._state
        return (time.monotonic() - first_time) / (state["step"] - first_step) * (state["steps"] - state["step"])

    def _fields(self) -> dict[str, Any]:
        state = self._state
        losses = {f"loss.{name}": loss for name, loss in state["losses"].items()}
        speed = {"tokens_per_s": state["tokens_per_s"], "seconds_left": self._seconds_left()}
        return {"step": state["step"], "steps": state["steps"], **losses, **speed}

    def _text(self) -> str:
        state = self._state
        if not state:
            return "starting the workers"
        fields = [f"step {state['step']:,} of {state['steps']:,} ({state['step'] / state['steps']:.0%})"]
        if state["tokens_per_s"] is not None:
            fields.append(f"{state['tokens_per_s']:,.0f} tokens/s")
        if (left := self._seconds_left()) is not None:
            fields.append(f"{format_duration(left)} left")
        fixed = "  ".join(fields)
        if not state["losses"]:
            return fixed
        return f"{fixed}  {format_losses(state['losses'], self._console.width - len(fixed) - 2)}"


def format_losses(losses: dict[str, float], width: int) -> str:
    """Format losses in at most `width` characters: long names are truncated, then the last losses are left out."""
    longest = max(map(len, losses))
    for num_shown in range(len(losses), 0, -1):
        more = f", +{len(losses) - num_shown}" if num_shown < len(losses) else ""
        for num_chars in range(longest, _MIN_NAME_CHARS - 1, -1):
            shown = [f"{truncate(name, num_chars)} {loss:.3f}" for name, loss in [*losses.items()][:num_shown]]
            text = f"loss {', '.join(shown)}{more}"
            if len(text) <= width:
                return text
    return ""
