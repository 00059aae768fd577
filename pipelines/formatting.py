"""How names, numbers and quotations are worded for a person."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_line(text: str) -> str:
    """Make any text fit one line of a message: spaces for line breaks, escapes for what does not print."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))


def clip(text: str, width: int = 60) -> str:
    """Make any text fit into one line with others."""
    return shorten(one_line(text), width)


def shorten(text: str, width: int) -> str:
    """Cut a text to at most `width` characters; an ellipsis tells so."""
    return text if len(text) <= width else text[: width - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant; case and a few letters may differ."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.7)
    return by_folded[matches[0]] if matches else None


def counted(number: int, noun: str) -> str:
    """Write `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(part: float, whole: float) -> str:
    """Write a share in percent; what is not all and not nothing never looks so."""
    value = 100 * part / whole if whole else 0.0
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %"


def duration(seconds: float) -> str:
    """Write `4.2 s`, `3 min 05 s`, `12 h 30 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(size_bytes: float) -> str:
    """Write `512 bytes`, `1.5 MB`; a kilobyte has 1,000."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size_bytes /= 1000
        if size_bytes < 1000:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1000:,.1f} TB"


def type_name(kind: pa.DataType) -> str:
    """Write a column's type without what every part of it repeats: `float32[1,024]`, `list<{label, score}>`."""
    if pa.types.is_fixed_size_list(kind):
        return f"{type_name(kind.value_type)}[{kind.list_size:,}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"{{{', '.join(one_line(field.name) for field in kind)}}}"
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
