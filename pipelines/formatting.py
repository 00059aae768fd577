"""Format names, numbers, types and quoted text for messages and reports."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from xlm_core.errors import format_count as format_count

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_line(text: str) -> str:
    """Put a text on one line: replace line breaks by spaces, and escape non-printable characters."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))


def excerpt(text: str, width: int = 60) -> str:
    """Put a text on one line, truncated to `width` characters."""
    return truncate(one_line(text), width)


def truncate(text: str, width: int) -> str:
    """Truncate a text to at most `width` characters. A truncated text ends in an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is most similar, ignoring case; None if none is similar."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.7)
    return by_folded[matches[0]] if matches else None


def format_kept(num_kept: int | None, num_read: int, num_all: int) -> str:
    """Format how many rows a filter keeps, such as "up to 20 of 100 rows".

    Args:
        num_kept: how many it keeps; None if this is not known.
        num_read: number of rows to which the filter is applied.
        num_all: number of all rows, also of those that are not read because of their statistics.
    """
    most, rows = num_read if num_kept is None else num_kept, format_count(num_all, "row")
    known = rows if most == num_all else f"{most:,} of {rows}"
    return f"up to {known}" if num_kept is None else known


def format_percent(part: float, whole: float) -> str:
    """Format a share as a percentage. Only exact shares are shown as `0.0 %` and `100.0 %`."""
    value = 100 * part / whole if whole else 0.0
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %"


def format_duration(seconds: float) -> str:
    """Format a duration, such as `4.2 s`, `3 min 05 s` or `12 h 30 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_time(seconds: float) -> str:
    """Format a time since the epoch in UTC and ISO 8601, such as `2026-01-31T23:00:00+00:00`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def format_size(size_bytes: float) -> str:
    """Format a size, such as `512 bytes` or `1.5 MB`, with decimal units."""
    if size_bytes < 1000:
        return format_count(round(size_bytes), "byte")
    for unit in ("kB", "MB", "GB"):
        size_bytes /= 1000
        if size_bytes < 1000:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1000:,.1f} TB"


def format_type(kind: pa.DataType) -> str:
    """Format an Arrow type briefly, such as `float32[1,024]` or `list<{label, score}>`."""
    if pa.types.is_fixed_size_list(kind):
        return f"{format_type(kind.value_type)}[{kind.list_size:,}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{format_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"{{{', '.join(one_line(field.name) for field in kind)}}}"
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
