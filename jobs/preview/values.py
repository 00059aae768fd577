"""Convert any Arrow value to a Python value that can be displayed. No value is refused.

Arrow's own conversion raises for what Python cannot represent: years before 1 or after 9999, which include the infinity
of DuckDB and Postgres, time zones that the machine does not know, and text that is not UTF-8.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pyarrow as pa


def to_python(value: pa.Scalar) -> Any:
    """Convert a value: numbers, bytes, lists and dictionaries as such, dates and times as text.

    Invalid bytes of text are escaped. Times that Python cannot represent are in UTC.
    """
    data_type, types = value.type, pa.types
    if not value.is_valid:
        return None
    if isinstance(data_type, pa.UuidType):
        return str(uuid.UUID(bytes=value.value.as_py()))
    if isinstance(data_type, pa.Bool8Type):
        return value.value.as_py() != 0
    if isinstance(data_type, pa.BaseExtensionType) or types.is_dictionary(data_type):
        return to_python(value.value)
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return value.as_buffer().to_pybytes().decode(errors="backslashreplace")
    if types.is_struct(data_type):
        return {field.name: to_python(value[i]) for i, field in enumerate(data_type)}
    if types.is_map(data_type):
        return [(to_python(entry[0]), to_python(entry[1])) for entry in value.values]
    if types.is_nested(data_type):
        items = value.values
        return items.to_pylist() if types.is_floating(items.type) else [to_python(item) for item in items]
    return _time_to_text(value) if types.is_temporal(data_type) else value.as_py()


def _time_to_text(value: pa.Scalar) -> str:
    data_type, types, number = value.type, pa.types, value.value
    unit = "D" if types.is_date32(data_type) else "ms" if types.is_date64(data_type) else data_type.unit
    with_nanoseconds = types.is_time(data_type) and unit == "ns"  # Python's times have only microseconds
    if not with_nanoseconds:
        try:
            return str(value.as_py())
        except Exception:  # of many classes, some from the library of time zones
            pass
    moment = np.datetime64(number, unit)
    if np.isnat(moment) or types.is_duration(data_type):
        return f"{number:,} {unit}"
    date, _, time = str(moment).partition("T")
    if types.is_time(data_type):
        return time
    return f"{date} {time}".strip() + ("+00:00" if types.is_timestamp(data_type) and data_type.tz else "")
