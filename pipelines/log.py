"""The logger of runs, and tracebacks without messages: what is logged never contains the text of a row."""

from __future__ import annotations

import logging
import traceback

# A library must not print its log. The command line writes it to a file, see `jobs.log_file`.
logger = logging.getLogger("xlm")
logger.addHandler(logging.NullHandler())

MAX_TRACEBACK_CHARS = 20_000


def format_traceback(error: BaseException) -> str:
    """Format all frames of an exception and of those that it was raised from, as Python does, without messages.

    The messages of other libraries may quote the data. Causes that `raise … from None` suppresses are included.

    Returns:
        Lines, the innermost frame last; of long tracebacks the last `MAX_TRACEBACK_CHARS` characters.
    """
    blocks: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = "".join(traceback.format_tb(cause.__traceback__))
        blocks.append(
            f"Traceback (most recent call last):\n{frames}{type(cause).__module__}.{type(cause).__qualname__}"
        )
        cause = cause.__cause__ or cause.__context__
    return limit_traceback("\n\nThe next error was raised while this one was handled:\n\n".join(reversed(blocks)))


def limit_traceback(lines: str) -> str:
    """Return the end of a long traceback."""
    if len(lines) <= MAX_TRACEBACK_CHARS:
        return lines
    return "… (earlier frames are omitted)\n" + lines[-MAX_TRACEBACK_CHARS:].partition("\n")[2]
