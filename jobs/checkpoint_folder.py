"""Where the commands that look at one checkpoint find it."""

from __future__ import annotations

from pathlib import Path

from pipelines.checkpoints import local_checkpoint, pin_checkpoint
from pipelines.storage import locate


def checkpoint_folder(url: str) -> Path:
    """Give the local directory of a checkpoint: the one that is named, or what was fetched from a URL.

    Raises:
        FatalError, RetryableError: it cannot be fetched.
    """
    if not url.startswith("hf://") and (location := locate(url)).is_local:
        return Path(location.path)  # used where it lies, without hashing it
    return local_checkpoint(pin_checkpoint(url))
