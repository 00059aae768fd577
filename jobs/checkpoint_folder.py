"""Where the commands that look at one checkpoint find it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints import local_checkpoint, named_as, pin_checkpoint
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console


@contextmanager
def checkpoint_folder(url: str, console: Console) -> Generator[Path]:
    """Have the local directory of a checkpoint: the one that is named, or what was fetched from a URL.

    Raises:
        FatalError, RetryableError: it cannot be fetched.
    """
    if not url.startswith("hf://") and (location := locate(url)).is_local:
        yield Path(location.path)  # used where it lies, without hashing it
        return
    folder = local_checkpoint(pin_checkpoint(url, lambda line: console.print(line, highlight=False, markup=False)))
    with named_as(url, folder):
        yield folder
