"""Arrow columns of text, or of text split into words, decoded to Python strings whatever bytes they contain."""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa

WordList = list[str]
"""A text that is already split into words."""


def is_text(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains strings, in any of Arrow's layouts."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type)


def is_words(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains lists of strings."""
    return (pa.types.is_list(data_type) or pa.types.is_large_list(data_type)) and is_text(data_type.value_type)


def decode_text(column: pa.Array) -> tuple[list[str | None], dict[int, int]]:
    """Decode a column of strings that may contain invalid UTF-8.

    Returns:
        The strings, with None for nulls and invalid bytes escaped; and for each invalid string, its index and the
        position of its first invalid byte.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        invalid: dict[int, int] = {}
        binary = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        values: list[bytes | None] = column.view(binary).to_pylist()
        for i, value in enumerate(values):
            if value is None:
                texts.append(None)
                continue
            try:
                texts.append(value.decode())
            except UnicodeDecodeError as error:
                invalid[i] = error.start
                texts.append(value.decode(errors="backslashreplace"))
        return texts, invalid
    return column.to_pylist(), {}


def decode_texts(column: pa.Array) -> tuple[list[str | WordList | None], dict[int, int]]:
    """Decode a column of texts or of word lists; see `decode_text`.

    A null word becomes an empty one: it produces no token, and the words after it keep their positions.
    """
    if not is_words(column.type):
        return cast("tuple[list[str | WordList | None], dict[int, int]]", decode_text(column))
    offsets = column.offsets.to_numpy()
    words, invalid_words = decode_text(column.values[offsets[0] : offsets[-1]])
    offsets = (offsets - offsets[0]).tolist()
    texts: list[str | WordList | None] = [
        None if is_null else [word or "" for word in words[offsets[i] : offsets[i + 1]]]
        for i, is_null in enumerate(column.is_null().to_pylist())
    ]
    rows = np.searchsorted(offsets, list(invalid_words), side="right") - 1
    return texts, dict(zip(rows.tolist(), invalid_words.values(), strict=True))


def join_words(text: str | WordList) -> str:
    """Return the text to which character offsets refer: a string unchanged, or words joined by spaces."""
    return text if isinstance(text, str) else " ".join(text)
