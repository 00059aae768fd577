"""Which columns a job reads from each input file, and whether a file has them with usable types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.filter import parse_filter
from pipelines.formatting import closest_name
from pipelines.rows import is_text, is_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.job import InputSettings
    from pipelines.storage import FileInfo


def columns_to_read(spec: InputSettings) -> list[str]:
    """List the columns that a job names, each once, in the order of the settings; those of the filter come last."""
    names = [spec.id, *spec.keep, *spec.text_columns, spec.lang_column]
    names += sorted(parse_filter(spec.filter)[1]) if spec.filter else []
    return [name for name in dict.fromkeys(names) if name is not None]


def check_schema(
    file: FileInfo, schema: pa.Schema, spec: InputSettings, first: tuple[FileInfo, pa.Schema] | None
) -> Iterable[str]:
    """Yield what is wrong with an input file's schema, one message per problem.

    Args:
        file: the file.
        schema: its schema.
        spec: the input settings.
        first: the first file and its schema, with which the types of all others must agree; None for the first file.
    """
    wanted = columns_to_read(spec)
    repeated = [name for name in wanted if schema.names.count(name) > 1]
    for name in repeated:
        yield f"{file.url}: has {schema.names.count(name)} columns {name}; give each column its own name"
    missing = [name for name in wanted if name not in schema.names]
    for name in missing:
        close = closest_name(name, schema.names)
        hint = f"did you mean {close}?" if close else f"it has {', '.join(schema.names)}"
        yield f"{file.url}: no column {name}; {hint}"
    if missing or repeated:
        return
    yield from _check_types(file, schema, spec, wanted)
    if first is not None:
        yield from _check_same_types(file, schema, spec, *first)


def field_as_read(field: pa.Field, spec: InputSettings) -> pa.Field:
    """Return the field with which a column is read from all files.

    It is nullable, because other files may contain nulls. Text that is not copied to the output has the same layout
    for all files. String views become plain strings everywhere, because Arrow cannot filter views.
    """
    is_copied = field.name in (spec.id, *spec.keep)
    if is_words(field.type) and field.name in spec.text_columns and not is_copied:
        return field.with_type(pa.list_(pa.large_string())).with_nullable(True)
    is_plain = pa.types.is_string_view(field.type) or (is_text(field.type) and not is_copied)
    return field.with_type(pa.large_string() if is_plain else field.type).with_nullable(True)


def _check_types(file: FileInfo, schema: pa.Schema, spec: InputSettings, wanted: list[str]) -> Iterable[str]:
    for role, names, is_usable, expected in (
        ("input.text", spec.text_columns, _is_text_or_words, "text, or lists of text"),
        ("input.lang", [spec.lang_column], is_text, "text"),
        ("input.id", [spec.id], _is_id, "text or whole numbers"),
    ):
        for name in names:
            if name is not None and not is_usable(schema.field(name).type):
                yield f"{file.url}: {role} {name} is {schema.field(name).type}; expected {expected}"
    for name in wanted:
        data_type = schema.field(name).type
        if _has_views(data_type) and not pa.types.is_string_view(data_type):
            yield f"{file.url}: column {name} is {data_type}, which Arrow cannot filter; write it without views"
    if spec.filter:
        try:
            parse_filter(spec.filter, schema)
        except FatalError as error:
            yield f"{file.url}: {error}"


def _check_same_types(
    file: FileInfo, schema: pa.Schema, spec: InputSettings, first_file: FileInfo, first_schema: pa.Schema
) -> Iterable[str]:
    for name in dict.fromkeys([*spec.text_columns, spec.id, *spec.keep]):
        if name is None:
            continue
        got, expected = schema.field(name).type, first_schema.field(name).type
        # texts that are only tokenized may differ in layout
        is_copied = name in (spec.id, *spec.keep)
        if (is_copied and got != expected) or is_words(got) != is_words(expected):
            yield f"{file.url}: column {name} is {got}, but {expected} in {first_file.url}; write them with one type"


def _is_text_or_words(data_type: pa.DataType) -> bool:
    return is_text(data_type) or is_words(data_type)


def _is_id(data_type: pa.DataType) -> bool:
    return is_text(data_type) or pa.types.is_integer(data_type)


def _has_views(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains views of strings or bytes, at any depth."""
    if pa.types.is_string_view(data_type) or pa.types.is_binary_view(data_type):
        return True
    return any(_has_views(data_type.field(i).type) for i in range(data_type.num_fields))
