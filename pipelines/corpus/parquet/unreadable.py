"""Why an input file cannot be read, and what to do about it. Only what is really damaged is called damaged."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.formatting import excerpt

if TYPE_CHECKING:
    from collections.abc import Generator

_ENCRYPTED = re.compile("(?i)encrypt|decrypt")
_CODEC = re.compile("(?i)compression is supported by|compression codec|support for codec")


class UnsupportedInputError(FatalError):
    """An input file is intact, but Arrow cannot read it, or one of its columns. See `explain_unreadable`."""


@contextmanager
def unsupported_input() -> Generator[None]:
    """Raise `UnsupportedInputError` for what is not supported, which must not be retried like damaged data."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if _is_unsupported(error):
            raise UnsupportedInputError(explain_unreadable(error)) from None
        raise


def explain_unreadable(error: Exception) -> str:
    """Return what is wrong with an input file, or with a part of it, and the next step.

    Args:
        error: an OSError or pa.ArrowException from opening or reading it.
    """
    reason = excerpt(str(error), 200)
    if _ENCRYPTED.search(reason):
        return "is encrypted, and encrypted Parquet files are not supported; write a decrypted copy"
    if _CODEC.search(reason):
        return "is compressed with a codec that Arrow does not support; write it again with another, such as zstd"
    if isinstance(error, pa.ArrowNotImplementedError):
        return f"has a type that Arrow cannot read ({reason}); write it again with another type"
    if isinstance(error, pa.ArrowMemoryError):
        return f"does not fit in memory ({reason}); write the file again with smaller row groups"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({reason}); check the storage, and run the job again"
    return f"cannot be read ({type(error).__name__}); the file is damaged, write it again"


def _is_unsupported(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, pa.ArrowNotImplementedError) or bool(_ENCRYPTED.search(text) or _CODEC.search(text))
