"""Why a shard was not finished, as a value that stages and the driver exchange."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.errors import ClusterError, FatalError, NoSpaceError, RetryableError, ShardError, StalledError
from pipelines.log import format_traceback, limit_traceback

FAILURE_TYPE = pa.struct([("kind", pa.string()), ("message", pa.string()), ("traceback", pa.string())])


class FailureKind(StrEnum):
    """What a shard's failure means for the run."""

    STOPPED = "stopped"  # the shard was not started, because the run is ending early
    STALLED = "stalled"  # a stage made no progress on the shard for too long, and its process was ended
    FAILED = "failed"  # the shard cannot be finished; others can
    STORAGE = "storage"  # the storage failed; others can succeed
    NO_SPACE = "no_space"  # a disk is full; the run ends
    FATAL = "fatal"  # no shard can be finished; the run ends
    CLUSTER = "cluster"  # the workers cannot finish any shard; the run ends and can be resumed on other machines


# The first class that fits decides. Local files raise plain OSErrors.
_KINDS = {
    FatalError: FailureKind.FATAL,
    StalledError: FailureKind.STALLED,
    ClusterError: FailureKind.CLUSTER,
    NoSpaceError: FailureKind.NO_SPACE,
    RetryableError: FailureKind.STORAGE,
    OSError: FailureKind.STORAGE,
}


@dataclass(frozen=True, slots=True)
class ShardFailure:
    """Why a shard was not finished.

    Attributes:
        kind: what the failure means for the run.
        message: one line for the user, without the text of any row.
        traceback: for the log, without messages; None if no exception was raised.
    """

    kind: FailureKind
    message: str
    traceback: str | None = None

    @classmethod
    def from_error(cls, error: BaseException) -> ShardFailure:
        """Describe an exception that a stage raised."""
        kind = next(
            (kind for error_class, kind in _KINDS.items() if isinstance(error, error_class)), FailureKind.FAILED
        )
        frames = limit_traceback(error.stack) if isinstance(error, StalledError) else format_traceback(error)
        return cls(kind, _describe(error), frames)

    @classmethod
    def from_row(cls, row: dict[str, Any] | None) -> ShardFailure | None:
        """Build a failure from a struct's Python value; None from None."""
        return None if row is None else cls(FailureKind(row["kind"]), row["message"], row["traceback"])

    def to_row(self) -> dict[str, Any]:
        """Return the failure as the Python value of a `FAILURE_TYPE` struct."""
        return asdict(self)


STOPPED = ShardFailure(FailureKind.STOPPED, "not started, because the run is ending early")


def _describe(error: BaseException) -> str:
    """Describe an exception in one line, without the text of any row.

    The messages of our own errors are written for users. The messages of all others may quote the data, so only the
    exception's type and source line are given.
    """
    if isinstance(error, (FatalError, RetryableError, ShardError)):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    source_line = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    cause = error.strerror if isinstance(error, OSError) else error.name if isinstance(error, ImportError) else None
    return f"{type(error).__name__}{f' ({cause})' if cause else ''}{source_line}"
