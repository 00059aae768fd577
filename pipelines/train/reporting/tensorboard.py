"""The curves of a training as event files of TensorBoard, written by its package."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.train.reporting.scalars import Scalar


def check_tensorboard() -> None:
    """Check that the package is installed, which takes seconds to import.

    Raises:
        FatalError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise FatalError(
            "output.tensorboard: needs the package tensorboard, which is not installed; pip install "
            "'xlm-batch[tensorboard]'"
        )


def event_file_name(step: int) -> str:
    """Return the name of a file that is written after a number of steps. Names sort by it."""
    return f"events.out.tfevents.{step:010}.xlm"


def event_files(scalars: Iterable[Scalar]) -> dict[str, bytes]:
    """Return the contents of the file of each run, "train" and "dev"."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writers: dict[str, EventFileWriter] = {}
        for scalar in scalars:
            if scalar.run not in writers:
                writers[scalar.run] = EventFileWriter(str(folder / scalar.run))
            value = Summary(value=[Summary.Value(tag=scalar.name, simple_value=scalar.value)])
            writers[scalar.run].add_event(Event(wall_time=scalar.time_s, step=scalar.step, summary=value))
        for writer in writers.values():
            writer.close()
        return {run: next((folder / run).iterdir()).read_bytes() for run in writers}
