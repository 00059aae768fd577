"""Which columns a job reads from each input file, and whether a file has them with usable types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.filter import parse_filter
from pipelines.formatting import closest_name, excerpt, format_type
from pipelines.rows import are_same_type, is_id, is_text, is_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.job import InputSettings
    from pipelines.storage import FileInfo


def columns_to_read(spec: InputSettings) -> list[str]:
    """List the columns that a job names, each once, in the order of the settings; those of the filter come last."""
    names = [spec.id, *spec.kept_columns, *spec.text_columns, spec.lang_column]
    names += sorted(parse_filter(spec.filter)[1]) if spec.filter else []
    return [name for name in dict.fromkeys(names) if name is not None]


def check_schema(
    file: FileInfo,
    schema: pa.Schema,
    unreadable: Mapping[str, str],
    spec: InputSettings,
    first: tuple[FileInfo, pa.Schema] | None,
) -> Iterable[str]:
    """Yield what is wrong with the columns of an input file, one message per problem.

    Args:
        file: the file.
        schema: its columns, with the types in which they are read.
        unreadable: for each column that cannot be read, what is wrong with it.
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
        advice = _advice(name, schema, spec) if first is None else ""  # the first file has the column
        hint = f"did you mean {close}?" if close else f"it has {', '.join(schema.names)}{advice}"
        yield f"{file.url}: no column {name}; {hint}"
    if missing or repeated:
        return
    problems = [f"{file.url}: column {name} {unreadable[name]}" for name in wanted if name in unreadable]
    if problems:
        yield from problems
        return
    yield from _check_types(file, schema, spec)
    if first is not None:
        yield from _check_same_types(file, schema, spec, *first)


def _advice(name: str, schema: pa.Schema, spec: InputSettings) -> str:
    """Return what to write if a name that is no column was meant as something else."""
    if name in spec.kept.values():
        swapped = [new for new, kept in spec.kept.items() if kept == name and new != name and new in schema.names]
        return f"; keep is {{new name: column}}, so write keep: {{{name}: {swapped[0]}}}" if swapped else ""
    if name == spec.lang_column:
        lang = name.removeprefix("fixed:").strip()  # as on the command line of xlm init
        return f"; if {lang} is the language of all rows, write lang: {{fixed: {lang}}}"
    if name in (spec.id, *spec.text_columns):
        return ""
    return f'; if {name} is a text to compare with, write "{name}" in quotes'  # it is only in the filter


def field_as_read(field: pa.Field, spec: InputSettings, written: pa.Schema | None = None) -> pa.Field:
    """Return the field to which a column is converted, whatever the layout of its values in a file.

    It is nullable, because other files may contain nulls. Text that is not copied to the output is `large_string`.

    Args:
        field: the column in the first file.
        spec: the input settings.
        written: the columns of an existing output; a column that is copied to it keeps its type there.
    """
    names = spec.names_in_output(field.name)
    if not names:
        is_list = is_words(field.type) and field.name in spec.text_columns
        text = pa.list_(pa.large_string()) if is_list else pa.large_string()
        return pa.field(field.name, text if is_list or is_text(field.type) else field.type)
    if written is not None and written.names.count(names[0]) == 1:
        found = written.field(names[0])
        if are_same_type(found.type, field.type):
            return found.with_name(field.name)
    return field.with_nullable(True)


def _check_types(file: FileInfo, schema: pa.Schema, spec: InputSettings) -> Iterable[str]:
    for role, names, is_usable, expected in (
        ("input.text", spec.text_columns, _is_text_or_words, "text, or lists of text"),
        ("input.lang", [spec.lang_column], is_text, "text"),
        ("input.id", [spec.id], is_id, "text, whole numbers or UUIDs"),
    ):
        for name in names:
            if name is not None and not is_usable(schema.field(name).type):
                yield f"{file.url}: {role} {name} is {schema.field(name).type}; expected {expected}"
    for name in spec.kept_columns:
        if reason := _why_not_copied(schema.field(name)):
            kind = excerpt(format_type(schema.field(name).type))
            yield f"{file.url}: column {name} is {kind}, which Arrow cannot copy ({reason}); remove it from input.keep"
    if spec.filter:
        try:
            parse_filter(spec.filter, schema)
        except FatalError as error:
            yield f"{file.url}: {error}"


def _check_same_types(
    file: FileInfo, schema: pa.Schema, spec: InputSettings, first_file: FileInfo, first_schema: pa.Schema
) -> Iterable[str]:
    for name in dict.fromkeys([*spec.text_columns, spec.id, *spec.kept_columns]):
        if name is None:
            continue
        got, expected = schema.field(name).type, first_schema.field(name).type
        if (spec.names_in_output(name) and not are_same_type(got, expected)) or is_words(got) != is_words(expected):
            yield f"{file.url}: column {name} is {got}, but {expected} in {first_file.url}; write them with one type"


def _is_text_or_words(data_type: pa.DataType) -> bool:
    return is_text(data_type) or is_words(data_type)


def _why_not_copied(field: pa.Field) -> str | None:
    """Return why Arrow cannot select rows of a column or write it; None if it can."""
    try:
        rows = pa.table({"c": pa.nulls(2, field.type)}).filter(pa.array([True, False]))
        pq.write_table(rows, pa.BufferOutputStream())
    except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
        return excerpt(str(error))
    return None
