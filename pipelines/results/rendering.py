"""Write result values as short text on one line, for display in a terminal."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pipelines.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_ITEMS = 1_000  # of a list; a line has room for fewer
_MAX_CHARS = 1_000  # of a text; a line has room for fewer
_MAX_NUMBERS = 6  # of a vector
# Invisible like control characters, but part of the spelling in Persian and Hindi, and of emoji.
_JOINERS = "\u200c\u200d"


def render_text(text: str) -> str:
    """Return a text without line breaks, and without characters that control a terminal."""
    characters = ((character, unicodedata.category(character)) for character in " ".join(text[:_MAX_CHARS].split()))
    return "".join(
        "�" if category in ("Cc", "Cs") else character
        for character, category in characters
        if category != "Cf" or character in _JOINERS
    )


def render_scalar(value: object) -> str:
    """Return any value as text; of bytes, only their number."""
    if isinstance(value, bytes):
        return format_count(len(value), "byte")
    return "null" if value is None else render_text(value if isinstance(value, str) else str(value))


def render_number(value: float) -> str:
    """Return a number such as `1,234`, `−0.80` or `9.88e+42`."""
    number_format = ",d" if isinstance(value, int) else "z,.2f" if abs(value) < 1e6 else ".3g"
    text = f"{value:{number_format}}"
    return text.replace("-", "−", 1) if value < 0 else text


def render_numbers(values: Sequence[float]) -> str:
    """Return a list such as `[0.60, −0.80]`. Of a long list, the first numbers are followed by an ellipsis."""
    shown = ", ".join(render_number(value) for value in values[:_MAX_NUMBERS])
    return f"[{shown}, … ]" if len(values) > _MAX_NUMBERS else f"[{shown}]"


def render_vector(values: Sequence[float], *, with_norm: bool) -> str:
    """Return a vector's first numbers, its dimension and, on request, its norm."""
    text = f"{render_numbers(values)} D={len(values):,}"
    return f"{text} ‖v‖={math.sqrt(sum(float(value) ** 2 for value in values)):.2f}" if with_norm else text


def render_bits(values: Sequence[int]) -> str:
    """Return the first bytes of a binary vector in hexadecimal, and how many bytes it has."""
    shown = " ".join(f"{value:02x}" for value in values[:_MAX_NUMBERS])
    return f"[{shown}{' …' if len(values) > _MAX_NUMBERS else ''}] {format_count(len(values), 'byte')}"


def render_vector_list(vectors: Sequence[str]) -> str:
    """Return how many vectors a row has, and the first of them."""
    return f"{format_count(len(vectors), 'vector')}: {vectors[0]}"


def render_items(items: Iterable[str], separator: str = ", ") -> str:
    """Join the items of a list; `none` for an empty list."""
    return separator.join(items) or "none"


def render_value(value: Any, data_type: pa.DataType) -> str:
    """Return any value by its type alone, without knowing the task that wrote it."""
    if isinstance(value, int | float):
        return render_number(value)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return " ".join(render_value(part, data_type.field(name).type) for name, part in fields)
    if not isinstance(value, list):
        return render_scalar(value)
    values, item_type = cast("list[Any]", value), data_type.value_type
    if pa.types.is_fixed_size_list(data_type):
        return _render_vector_by_type(values, item_type)
    if pa.types.is_fixed_size_list(item_type):
        return render_vector_list([_render_vector_by_type(vector, item_type.value_type) for vector in values])
    if pa.types.is_integer(item_type) or pa.types.is_floating(item_type):
        return render_number_list(values)
    separator = " | " if pa.types.is_list(item_type) else ", "
    return render_items((render_value(item, item_type) for item in values[:MAX_ITEMS]), separator)


def render_number_list(values: Sequence[float]) -> str:
    """Return a list of numbers and, if it is cut, its length."""
    return render_numbers(values) + (f" C={len(values):,}" if len(values) > _MAX_NUMBERS else "")


def _render_vector_by_type(values: Sequence[Any], number_type: pa.DataType) -> str:
    if pa.types.is_uint8(number_type):
        return render_bits(values)
    return render_vector(values, with_norm=pa.types.is_floating(number_type))
