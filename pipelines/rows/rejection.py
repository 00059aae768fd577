"""Rejected rows: the reasons for which a row is rejected, and the columns of the files that list such rows."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

REJECTED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # in a stage, its position in the shard; in a file, see `Source`
        pa.field("id", pa.string()),  # as text; null if the job has no id column, or the row has no id
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # never contains the text of the row
        pa.field("lang", pa.string()),  # its language code; null if it has none, or if it was rejected before a check
    ]
)


class RejectionReason(StrEnum):
    """Why a row is rejected. The values are part of the output format."""

    INVALID_UTF8 = "invalid_utf8"
    NULL_ID = "null_id"
    NULL_LANG = "null_lang"
    UNKNOWN_LANG = "unknown_lang"  # not in the checkpoint's lang2id
    NO_CHOICES = "no_choices"
    NULL_TEXT = "null_text"
    EMPTY_TEXT = "empty_text"
    TOO_MANY_CHARS = "too_many_chars"
    TOO_MANY_TOKENS = "too_many_tokens"
    DUPLICATE_ID = "duplicate_id"  # an earlier row has the same id
    KILLED_WORKER = "killed_worker"  # the worker process died or timed out each time it processed the row


class Rejection(NamedTuple):
    """Why one row is rejected.

    Attributes:
        reason: one of the known reasons.
        detail: a message for the user, without the text of the row.
    """

    reason: RejectionReason
    detail: str


class RejectedRow(NamedTuple):
    """A rejected row, with the fields of `REJECTED`."""

    row: int
    id: str | None
    reason: RejectionReason
    detail: str
    lang: str | None = None


PreRejected = dict[str, dict[int, Rejection]]
"""Rows that the driver rejects before they are tokenized: by shard id, then by position in the shard."""
