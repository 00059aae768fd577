"""Errors of a run, named by what to do next; `FatalError` comes from the model library."""

from xlm_core.errors import FatalError

__all__ = ["FatalError", "RetryableError", "ShardError"]


class ShardError(Exception):
    """This shard cannot finish: record it, go on with the others, and end non-zero. Holds no row text."""


class RetryableError(Exception):
    """Storage or a device failed in a way that may pass: try again."""
