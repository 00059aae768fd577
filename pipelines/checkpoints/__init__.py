"""Find checkpoints at any URL, cache them once per node, and load them in workers."""

from pipelines.checkpoints.cache import (
    PinnedCheckpoint,
    local_checkpoint,
    local_directory,
    pin_checkpoint,
    url_in_errors,
)
from pipelines.checkpoints.loading import load_identifier, load_model, load_tokenizer, read_tokenizer

__all__ = [
    "PinnedCheckpoint",
    "load_identifier",
    "load_model",
    "load_tokenizer",
    "local_checkpoint",
    "local_directory",
    "pin_checkpoint",
    "read_tokenizer",
    "url_in_errors",
]
