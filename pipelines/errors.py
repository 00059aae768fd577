"""Errors of a run, one class for each way to continue. `FatalError` is defined by the model library."""

from xlm_core.errors import FatalError

__all__ = [
    "RESUME_HINT",
    "ClusterError",
    "FatalError",
    "LockedError",
    "NoAnswerError",
    "NoSpaceError",
    "RejectionLimitError",
    "RetryableError",
    "ShardError",
    "StalledError",
]

RESUME_HINT = "what is finished is kept, run the same command to resume"


class LockedError(FatalError):
    """Another run is writing to the output. Schedulers tell it from other errors by its own exit status."""


class RejectionLimitError(FatalError):
    """The run is certain to reject more rows than the job allows."""


class ShardError(Exception):
    """One shard cannot be finished. It is recorded as failed, and the run continues.

    The message never contains the text of a row.
    """


class StalledError(ShardError):
    """A shard made no progress for longer than the limit.

    Attributes:
        stack: the stack of each thread at that time, without values.
    """

    def __init__(self, message: str, stack: str):
        super().__init__(message)
        self.stack = stack


class RetryableError(Exception):
    """Storage, a device or the cluster failed, perhaps temporarily.

    Committed shards are kept, and the same call resumes the run.
    """


class NoSpaceError(RetryableError):
    """A disk is full. The run ends at once; the same call resumes it when there is space."""


class NoAnswerError(RetryableError):
    """A store did not answer for so long that it is not asked again."""


class ClusterError(RetryableError):
    """Ray failed, its cluster was lost, or its workers die, regardless of the rows."""
