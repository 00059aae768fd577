"""The contents of the cache, and disks without space."""

import resource
import shutil
from pathlib import Path

from pipelines.checkpoints.cache import PinnedCheckpoint, pin_checkpoint

FILES = {"config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"}


def file_names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def clear(cache: Path) -> None:
    """Remove a cache, as on another node."""
    shutil.rmtree(cache, ignore_errors=True)


def pin_with_file_size_limit(url: str, limit: int) -> PinnedCheckpoint:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # like a full disk
    return pin_checkpoint(url)
