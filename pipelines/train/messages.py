"""Messages between the driver and the workers of a training, in the key-value store of Ray."""

from __future__ import annotations

import json
from typing import Any

from pipelines.ray_internals import delete_keys, has_key, put_key, put_text, read_text

_PREFIX = "xlm-train/"
_STOP, _PROGRESS, _ERROR, _RECORD = (f"{_PREFIX}{name}" for name in ("stop", "progress", "error", "record"))


def request_stop() -> None:
    """Let the workers end after the current step."""
    put_key(_STOP)


def stop_requested() -> bool:
    """Return whether the driver asked the workers to end."""
    return has_key(_STOP)


def put_progress(progress: dict[str, Any]) -> None:
    """Send the driver how far the training is.

    Its `record` is a description of the model and the history of the training, for the report, or None. It is larger
    than the rest, so it is kept apart.
    """
    progress = dict(progress)
    if (record := progress.pop("record")) is not None:
        put_text(_RECORD, json.dumps(record))
    put_text(_PROGRESS, json.dumps(progress))


def read_progress() -> dict[str, Any]:
    """Return how far the training is; empty before its first step."""
    return json.loads(read_text(_PROGRESS) or "{}")


def read_record() -> dict[str, Any]:
    """Return the last record, see `put_progress`; empty before the first."""
    return json.loads(read_text(_RECORD) or "{}")


def put_error(message: str) -> None:
    """Send the driver the reason why the training cannot continue."""
    put_text(_ERROR, message)


def read_error() -> str | None:
    """Return why the training cannot continue; None if it can."""
    return read_text(_ERROR)


def clear_messages() -> None:
    """Delete all messages."""
    delete_keys(_PREFIX)
