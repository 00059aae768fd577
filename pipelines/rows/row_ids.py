"""Columns whose values identify rows: text, integers and UUIDs."""

from __future__ import annotations

import uuid

import pyarrow as pa

from pipelines.rows.text_columns import decode_text, is_text


def is_id(data_type: pa.DataType) -> bool:
    """Return whether values of this type can identify rows."""
    return is_text(data_type) or pa.types.is_integer(data_type) or isinstance(data_type, pa.UuidType)


def id_texts(ids: pa.Array) -> pa.Array:
    """Convert ids to `large_string`: integers as decimal digits, UUIDs in their usual form with hyphens.

    Text has the bytes of the column, which may not be UTF-8.
    """
    if isinstance(ids, pa.ExtensionArray):
        values: list[bytes | None] = ids.storage.to_pylist()
        texts = [None if value is None else str(uuid.UUID(bytes=value)) for value in values]
        return pa.array(texts, pa.large_string())
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    return ids.cast(pa.large_string())


def decode_ids(ids: pa.Array) -> tuple[list[str | None], dict[int, int]]:
    """Convert ids to Python strings; see `decode_text`."""
    return decode_text(id_texts(ids))
