"""Which shards a corpus falls into: a small table, made from the footers of its Parquet files alone."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.filter.parse import parse_filter
from pipelines.formatting import nearest, one_line
from pipelines.rows.schemas import is_text, is_words
from pipelines.storage import FileInfo, Location, locate
from pipelines.storage.listing import find_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.job.job import InputSpec, Job
    from pipelines.storage.options import StoreSpec

PLAN = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # with mtime_ns, what tells whether the file is still the same
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("first_row", pa.int64(), nullable=False),  # in the row group
        pa.field("file_row", pa.int64(), nullable=False),  # of the same row, in the file
        pa.field("num_rows", pa.int64(), nullable=False),
    ]
)

# Footers are small reads that wait for the network; this many at once hide it without exhausting connections.
_FOOTER_THREADS = 16


@dataclass(frozen=True)
class Plan:
    """The corpus as the job will read it.

    Attributes:
        shards: as `PLAN`, in input order; one row a shard.
        schema: the input columns that the job names, with their types.
    """

    shards: pa.Table
    schema: pa.Schema

    @property
    def num_rows(self) -> int:
        """Rows of the corpus, before the filter."""
        return sum(self.shards["num_rows"].to_pylist())


def make_plan(job: Job) -> Plan:
    """List the job's input and cut it into shards of at most `rows_per_shard` rows of one row group.

    Raises:
        FatalError: a file is missing, unreadable or no Parquet, lacks a column, or has one of the wrong type; every
            such file is named, a line each.
        RetryableError: a store does not answer.
    """
    files = find_files(job.input.path, job.storage)
    wanted = _columns(job.input)
    problems: list[str] = []
    shards: list[dict[str, object]] = []
    first: tuple[FileInfo, pa.Schema] | None = None
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        for file, footer in zip(files, pool.map(partial(_read_footer, stores=job.storage), files), strict=True):
            if isinstance(footer, str):
                problems.append(footer)
                continue
            try:
                schema = footer.schema.to_arrow_schema()
            except (ValueError, pa.ArrowException):
                problems.append(f"{file.url}: a schema that cannot be read; write the file again")
                continue
            problems += _check_schema(file, schema, job.input, wanted, first)
            first = first or (file, schema)
            shards += _cut(file, footer, job.output.rows_per_shard)
    if problems:
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise FatalError("\n".join(map(one_line, problems[:20])) + more)  # a file's name may hold anything
    assert first is not None
    if not any(shard["num_rows"] for shard in shards):
        raise FatalError(f"{files[0].url}{' and others' if files[1:] else ''}: no rows; correct input.path")
    schema = pa.schema([_as_read(first[1].field(name), job.input) for name in wanted])
    return Plan(pa.Table.from_pylist(shards, PLAN), schema)


def shard_id(file: FileInfo, row_group: int, first_row: int) -> str:
    """Name a shard by what it is: the file, its identity, and the place in it.

    Other files of the corpus have no say in it. Ids of one file sort in the order of its rows.
    """
    identity = hashlib.sha256(f"{file.url}\0{file.size}\0{file.mtime_ns}".encode()).hexdigest()[:16]
    return f"{identity}-{row_group:05d}-{first_row:09d}"


def _columns(spec: InputSpec) -> list[str]:
    """Columns to read: what the job names, each once, in the order in which it names them."""
    names = [spec.id, *spec.keep, *spec.text_columns, spec.lang_column]
    names += sorted(parse_filter(spec.filter)[1]) if spec.filter else []
    return [name for name in dict.fromkeys(names) if name is not None]


def _read_footer(file: FileInfo, stores: Sequence[StoreSpec]) -> pq.FileMetaData | str:
    location = locate(file.url, stores)
    try:
        return location.persistently(lambda: _footer(location, file.size))
    except (OSError, pa.ArrowException):
        return f"{file.url}: a damaged or cut-off Parquet file ({file.size} bytes, no readable footer); write it again"


def _footer(location: Location, size: int) -> pq.FileMetaData | str:
    with location.fs.open_input_file(location.path) as source:
        if size < 12 or source.read_at(4, 0) != b"PAR1":
            return f"{location.url}: not a Parquet file ({size} bytes); name the data files, such as DIR/*.parquet"
        return pq.read_metadata(source)


def _check_schema(
    file: FileInfo, schema: pa.Schema, spec: InputSpec, wanted: list[str], first: tuple[FileInfo, pa.Schema] | None
) -> Iterable[str]:
    twice = [name for name in wanted if schema.names.count(name) > 1]
    for name in twice:
        yield f"{file.url}: has {schema.names.count(name)} columns {name}; name each once"
    missing = [name for name in wanted if name not in schema.names]
    for name in missing:
        close = nearest(name, schema.names)
        hint = f"did you mean {close}?" if close else f"it has {', '.join(schema.names)}"
        yield f"{file.url}: no column {name}; {hint}"
    if missing or twice:
        return
    for role, names, fits, expected in (
        ("input.text", spec.text_columns, _is_text_or_words, "text, or lists of text"),
        ("input.lang", [spec.lang_column], is_text, "text"),
        ("input.id", [spec.id], _is_id, "text or whole numbers"),
    ):
        for name in names:
            if name is not None and not fits(schema.field(name).type):
                yield f"{file.url}: {role} {name} is {schema.field(name).type}; expected {expected}"
    for name in wanted:
        kind = schema.field(name).type
        if _holds_views(kind) and not pa.types.is_string_view(kind):
            yield f"{file.url}: column {name} is {kind}, which Arrow cannot filter; write it without views"
    if spec.filter:
        try:
            parse_filter(spec.filter, schema)
        except FatalError as error:
            yield f"{file.url}: {error}"
    if first is None:
        return
    first_file, first_schema = first
    for name in spec.text_columns:
        if is_words(schema.field(name).type) != is_words(kind := first_schema.field(name).type):
            found = schema.field(name).type
            yield f"{file.url}: column {name} is {found}, but {kind} in {first_file.url}; write them with one type"
    for name in (spec.id, *spec.keep):
        if name is not None and schema.field(name).type != (kind := first_schema.field(name).type):
            found = schema.field(name).type
            yield f"{file.url}: column {name} is {found}, but {kind} in {first_file.url}; write them with one type"


def _as_read(field: pa.Field, spec: InputSpec) -> pa.Field:
    """Declare a column for all files: nullable, since one file's say-so binds no other.

    Strings that go no further than the tokenizer are read in one layout, whichever each file has; string views are so
    everywhere, since Arrow cannot filter them.
    """
    passes = field.name in (spec.id, *spec.keep)
    plain = pa.types.is_string_view(field.type) or (is_text(field.type) and not passes)
    if is_words(field.type) and field.name in spec.text_columns and not passes:
        return field.with_type(pa.list_(pa.large_string())).with_nullable(True)
    return field.with_type(pa.large_string() if plain else field.type).with_nullable(True)


def _is_text_or_words(kind: pa.DataType) -> bool:
    return is_text(kind) or is_words(kind)


def _holds_views(kind: pa.DataType) -> bool:
    """Whether a column of this type holds views of strings or bytes, at any depth."""
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return True
    return any(_holds_views(kind.field(i).type) for i in range(kind.num_fields))


def _is_id(kind: pa.DataType) -> bool:
    return is_text(kind) or pa.types.is_integer(kind)


def _cut(file: FileInfo, footer: pq.FileMetaData, rows_per_shard: int) -> Iterable[dict[str, object]]:
    file_row = 0
    for group in range(footer.num_row_groups):
        num_rows = footer.row_group(group).num_rows
        for first_row in range(0, num_rows, rows_per_shard):
            yield {
                "shard": shard_id(file, group, first_row),
                "file": file.url,
                "size": file.size,
                "mtime_ns": file.mtime_ns,
                "row_group": group,
                "first_row": first_row,
                "file_row": file_row + first_row,
                "num_rows": min(rows_per_shard, num_rows - first_row),
            }
        file_row += num_rows
