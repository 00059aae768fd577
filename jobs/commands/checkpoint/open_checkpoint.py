"""Open a checkpoint at any URL in this process. Does not import torch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.checkpoints import local_checkpoint, local_directory, pin_checkpoint, url_in_errors

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from rich.console import Console


@contextmanager
def open_checkpoint(url: str, console: Console) -> Generator[Path]:
    """Yield the local directory of a checkpoint. A remote one is downloaded to the cache first.

    Errors inside the `with` block name the URL instead of the cache's directory.

    Raises:
        FatalError, RetryableError: it cannot be downloaded.
    """
    if (directory := local_directory(url)) is not None:
        yield directory
        return
    pinned = pin_checkpoint(url, notify=lambda line: console.print(line, highlight=False, markup=False))
    directory = local_checkpoint(pinned)
    with url_in_errors(url, directory):
        yield directory
