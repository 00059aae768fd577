"""The logger of runs, its structured lines, and tracebacks without messages.

What is logged never contains the text of a row. A line is in logfmt, which log collectors parse:
`time=2026-03-01T02:00:00.123Z level=info msg=progress rows=16384 rows_planned=327080`.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# A library must not print its log. The command line writes it to a file, see `jobs.log_file`.
logger = logging.getLogger("xlm")
logger.addHandler(logging.NullHandler())

MAX_TRACEBACK_CHARS = 20_000

_PLAIN_VALUE = re.compile(r"[^\s\"=\\]+")


def log_event(level: int, message: str, **fields: object) -> None:
    """Log a message with fields, such as counts. Fields that are None are left out."""
    logger.log(level, "%s", message, extra={"fields": fields})


def announce(console: Console, message: str, **fields: object) -> None:
    """Log a message at level INFO. Print it, too: alone on a terminal, and as a structured line elsewhere."""
    log_event(logging.INFO, message, **fields)
    line = message if console.is_terminal else format_line(time.time(), "info", message, fields)
    console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def format_line(time_s: float, level: str, message: str, fields: dict[str, object]) -> str:
    """Format a structured line. Further lines of the message, such as a traceback, follow as they are.

    Args:
        time_s: seconds since the epoch.
        level: name of the level.
        message: the message.
        fields: names and values; those that are None are left out.
    """
    milliseconds = round(time_s * 1000)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    first, *rest = message.split("\n")
    values = {"time": f"{second}.{milliseconds % 1000:03d}Z", "level": level, "msg": first, **fields}
    line = " ".join(f"{name}={_format_value(value)}" for name, value in values.items() if value is not None)
    return "\n".join([line, *rest])


class LineFormatter(logging.Formatter):
    """Formats log records as structured lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return format_line(
            record.created,
            record.levelname.lower(),
            record.getMessage(),
            getattr(record, "fields", dict[str, object]()),
        )


def _format_value(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


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
