"""Where the commands that look at one checkpoint find it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.checkpoints import local_checkpoint, local_directory, named_as, pin_checkpoint

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from rich.console import Console


@contextmanager
def checkpoint_folder(url: str, console: Console) -> Generator[Path]:
    """Have the local directory of a checkpoint: the one that is named, or what was fetched from a URL.

    Raises:
        FatalError, RetryableError: it cannot be fetched.
    """
    if (directory := local_directory(url)) is not None:
        yield directory  # used where it lies, without hashing it
        return
    folder = local_checkpoint(pin_checkpoint(url, tell=lambda line: console.print(line, highlight=False, markup=False)))
    with named_as(url, folder):
        yield folder
