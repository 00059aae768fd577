"""Errors of a run, named by what to do next; `FatalError` comes from the model library."""

from xlm_core.errors import FatalError

__all__ = ["FatalError", "RetryableError", "ShardError"]


class ShardError(Exception):
    """This shard cannot finish: record it, go on with the others, and end non-zero. Holds no row text."""


class RetryableError(Exception):
    """Storage, a device or the cluster failed in a way that may pass: what is done is kept, the same call goes on."""
