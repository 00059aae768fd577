"""The plan: a table of the corpus's shards, made from the footers of its Parquet files alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from pipelines.corpus.files import (
    check_columns,
    check_partitions,
    describe_not_parquet,
    find_input_files,
    has_field_ids,
)
from pipelines.corpus.input_columns import check_schema, columns_to_read, field_as_read
from pipelines.corpus.parquet import UnsupportedInputError, explain_unreadable, read_footer
from pipelines.corpus.planned_shard import PlannedShard, group_by_row_group, plan_table, shard_id
from pipelines.errors import FatalError
from pipelines.formatting import format_count, one_line
from pipelines.storage import FileInfo, Location, locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow.parquet as pq

    from pipelines.corpus.parquet import Footer
    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

# Reading a footer is mostly waiting for the network. This many concurrent reads hide it without exhausting connections.
_FOOTER_THREADS = 16

_MAX_PROBLEMS = 20


class PrunedRows(NamedTuple):
    """How many rows are not read, and how many row groups contain them."""

    num_rows: int = 0
    num_row_groups: int = 0


@dataclass(frozen=True)
class Plan:
    """The corpus as the job will read it.

    Attributes:
        shards: one row per shard, with the schema `PLAN`, in input order.
        schema: the input columns that the job reads, with their types.
        partition_types: the types of the columns whose values are in the names of directories.
        tables: the version of each table of a lake format that is read, by name.
        pruned: rows that are not in `shards`, because the statistics of their row groups show that the filter drops
            them.
        notes: messages for the user about what is read and what is not.
    """

    shards: pa.Table
    schema: pa.Schema
    partition_types: Mapping[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])
    tables: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()
    pruned: PrunedRows = field(default_factory=PrunedRows)

    @property
    def num_rows(self) -> int:
        """Number of rows of the shards, before the filter."""
        return sum(self.shards["num_rows"].to_pylist())


def make_plan(
    spec: InputSettings, rows_per_shard: int, stores: Sequence[StoreSettings], written: pa.Schema | None = None
) -> Plan:
    """List the input files, and cut their row groups into shards.

    Args:
        spec: the input settings.
        rows_per_shard: maximum number of rows of a shard.
        stores: options of the stores that contain the corpus.
        written: the schema of the parts of an existing output, whose types are kept.

    Raises:
        FatalError: files are missing, unreadable or not Parquet, or columns are missing or of the wrong type.
            The message has a line for each problem.
        RetryableError: a store does not respond.
    """
    found = find_input_files(spec, stores)
    files = found.files
    problems: list[tuple[str, str]] = []
    shards: list[PlannedShard] = []
    pruned: list[PlannedShard] = []
    first: tuple[FileInfo, pa.Schema] | None = None
    wanted = set(columns_to_read(spec))
    partition_types: dict[str, pa.DataType] = {}
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        read = partial(_read_footer, spec=spec, stores=stores, is_only_file=len(files) == 1)
        footers = pool.map(read, (file.info for file in files))
        for (file, constants, partitions, table), footer in zip(files, footers, strict=True):
            if isinstance(footer, str):
                problems.append(("", footer))  # each damaged file is named
                continue
            schema = footer.schema
            found_here: list[str] = []
            if table is not None:
                found_here += check_columns(file, schema, table, wanted)
                schema = pa.schema([field for field in schema if field.name in table.names])  # the others were dropped
            if table is None or not has_field_ids(table):  # Iceberg guarantees that files agree with their partitions
                found_here += check_partitions(file, footer, {name: constants[name] for name in partitions & wanted})
            constants = {name: constants[name] for name in constants if name in wanted and name not in schema.names}
            for name, value in constants.items():
                schema = schema.append(pa.field(name, value.type))
                if name in found.partition_types.names:
                    partition_types[name] = value.type
            wrong = list(check_schema(file, schema, footer.unreadable, spec, first))
            problems += ((file.url, message) for message in found_here + wrong)
            first = first or (None if wrong else (file, schema))
            cut = list(_cut(file, footer.metadata, rows_per_shard, constants))
            kept = set(footer.row_groups)
            shards += [shard for shard in cut if shard.row_group in kept]
            pruned += [shard for shard in cut if shard.row_group not in kept]
    if problems:
        lines = _describe_problems(problems)
        num_more = len(lines) - _MAX_PROBLEMS
        more = f"\n… and {num_more} more" if num_more > 0 else ""
        # a file name may contain line breaks
        raise FatalError("\n".join(map(one_line, lines[:_MAX_PROBLEMS])) + more)
    assert first is not None
    if not any(shard.num_rows for shard in [*shards, *pruned]):
        raise FatalError(f"{files[0].info.url}{' and others' if files[1:] else ''}: no rows; correct input.path")
    if not shards:  # so that the output has a part, with its columns, also if the filter drops all rows
        first_group = next(group_by_row_group(pruned))
        shards, pruned = first_group, pruned[len(first_group) :]
    row_groups = {(shard.file, shard.row_group) for shard in pruned}
    counts = PrunedRows(sum(shard.num_rows for shard in pruned), len(row_groups))
    fields = [field_as_read(first[1].field(name), spec, written) for name in columns_to_read(spec)]
    return Plan(plan_table(shards), pa.schema(fields), partition_types, found.tables, tuple(found.notes), counts)


def _describe_problems(problems: Iterable[tuple[str, str]]) -> list[str]:
    """Return the messages of files, one line for all files with the same problem.

    Args:
        problems: a file and a message that begins with it, or an empty text and a message that stands alone.
    """
    files: dict[str, list[str]] = {}
    for url, message in problems:
        files.setdefault(message.removeprefix(url), []).append(url)
    return [
        f"{urls[0]} and {format_count(len(urls) - 1, 'more file')}{problem}"
        if urls[0] and urls[1:]
        else urls[0] + problem
        for problem, urls in files.items()
    ]


def _read_footer(
    file: FileInfo, spec: InputSettings, stores: Sequence[StoreSettings], *, is_only_file: bool
) -> Footer | str:
    """Read a file's footer, or return what is wrong with the file."""
    location = locate(file.url, stores)
    try:
        return location.with_retries(lambda: _open_footer(location, file.size, spec, is_only_file))
    except UnsupportedInputError as error:
        return f"{file.url}: {error}"
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: text that is not UTF-8
        if isinstance(error, OSError) and error.errno is not None:
            return f"{file.url}: {explain_unreadable(error)}"
        size = f"{format_count(file.size, 'byte')}, no readable footer"
        return f"{file.url}: a damaged or truncated Parquet file ({size}); write it again"


def _open_footer(location: Location, size_bytes: int, spec: InputSettings, is_only_file: bool) -> Footer | str:
    with location.fs.open_input_file(location.path) as source:
        if size_bytes < 12 or source.read_at(4, 0) not in (b"PAR1", b"PARE"):  # the latter if it is encrypted
            return describe_not_parquet(location.url, size_bytes, is_only_file=is_only_file)
        return read_footer(source, columns_to_read(spec), spec.filter)


def _cut(
    file: FileInfo, metadata: pq.FileMetaData, rows_per_shard: int, constants: Mapping[str, pa.Scalar]
) -> Iterable[PlannedShard]:
    file_row = 0
    for row_group in range(metadata.num_row_groups):
        num_rows = metadata.row_group(row_group).num_rows
        for first_row in range(0, num_rows, rows_per_shard):
            yield PlannedShard(
                id=shard_id(file, row_group, first_row),
                file=file.url,
                size_bytes=file.size,
                mtime_ns=file.mtime_ns,
                row_group=row_group,
                first_row=first_row,
                file_row=file_row + first_row,
                num_rows=min(rows_per_shard, num_rows - first_row),
                etag=file.etag,
                constants=constants,
            )
        file_row += num_rows
