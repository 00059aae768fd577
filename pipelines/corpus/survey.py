"""Survey a corpus: list its files, and read their footers, to find its row groups and the types of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, tee
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.corpus.files import (
    check_columns,
    check_partitions,
    describe_not_parquet,
    find_input_files,
    has_field_ids,
)
from pipelines.corpus.input_columns import check_schema, columns_to_read, field_as_read
from pipelines.corpus.known_files import FILE_INDEX, IS_PRUNED, FirstFile, GoneFiles, KnownFiles, describe_basis
from pipelines.corpus.parquet import UnsupportedInputError, explain_unreadable, read_footer
from pipelines.corpus.planned_shard import Member, constant_types, member_table
from pipelines.errors import FatalError
from pipelines.formatting import format_count, one_line
from pipelines.storage import FileInfo, Location, locate
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.files import GroupedFiles, InputFile
    from pipelines.corpus.parquet import Footer
    from pipelines.job import InputSettings
    from pipelines.storage import StoreSettings

# Reading a footer is mostly waiting for the network. This many concurrent reads hide it without exhausting connections.
_FOOTER_THREADS = 16
_BATCH_FILES = 4_096  # of which the footers are in memory at once

_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Corpus:
    """The corpus as the job will read it.

    Attributes:
        row_groups: its row groups with any rows, whole, in input order, with the columns `MEMBER` and constants.
        pruned: more row groups, which are not read, because statistics show that the filter drops their rows.
        schema: the input columns that the job reads, with their types.
        first: the first file.
        basis: a digest of the settings on which the other attributes depend, apart from the files.
        gone: the files of the earlier plan that changed or were deleted; None if there is no such plan.
        ids_are_distinct: whether an earlier run found that no two rows have the same id.
        partition_types: the types of the columns whose values are in the names of directories.
        tables: the version of each table of a lake format that is read, by name.
        notes: messages for the user about what is read and what is not.
    """

    row_groups: pa.Table
    pruned: pa.Table
    schema: pa.Schema
    first: FirstFile
    basis: str
    gone: GoneFiles | None = None
    ids_are_distinct: bool = False
    partition_types: Mapping[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])
    tables: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()


def survey_corpus(
    spec: InputSettings,
    stores: Sequence[StoreSettings],
    written: pa.Schema | None = None,
    kept: pa.Table | None = None,
) -> Corpus:
    """Survey the corpus of a job.

    Args:
        spec: the input settings.
        stores: options of the stores that contain the corpus.
        written: the schema of the parts of an existing output, whose types are kept.
        kept: an earlier plan. The footers of files that it contains are not read again.

    Raises:
        FatalError: files are missing, unreadable or not Parquet, or columns are missing or of the wrong type.
            The message has a line for each problem.
        RetryableError: a store does not respond.
    """
    found = find_input_files(spec, stores)
    basis = describe_basis(spec, found)
    known = KnownFiles.find(kept, basis, found.files.table)
    survey = _Survey(spec, stores, found.partition_types.names, known.first, is_only_file=len(found.files) == 1)
    survey.read(found.files, np.flatnonzero(~known.is_known))
    survey.check()
    assert survey.first is not None
    row_groups, pruned = known.merge(survey.tables)
    if not len(row_groups) and not len(pruned):
        url = found.files.table["url"][0].as_py()
        raise FatalError(f"{url}{' and others' if len(found.files) > 1 else ''}: no rows; correct input.path")
    if not len(row_groups):  # so that the output has a part, with its columns, also if the filter drops all rows
        row_groups, pruned = pruned.slice(0, 1), pruned.slice(1)
    types = constant_types(row_groups) | survey.constant_types
    return Corpus(
        row_groups=row_groups,
        pruned=pruned,
        schema=pa.schema(
            [field_as_read(survey.first.schema.field(name), spec, written) for name in columns_to_read(spec)]
        ),
        first=survey.first,
        basis=basis,
        gone=known.gone,
        ids_are_distinct=known.ids_are_distinct,
        partition_types={name: types[name] for name in found.partition_types.names if name in types},
        tables=found.tables,
        notes=tuple(found.notes),
    )


class _Survey:
    """Reads and checks the footers of files.

    Attributes:
        first: the first file.
        tables: the row groups that were found, as in `KnownFiles`.
        constant_types: the types of the columns that at least one file does not contain.
    """

    def __init__(
        self,
        spec: InputSettings,
        stores: Sequence[StoreSettings],
        partitions: Sequence[str],
        first: FirstFile | None,
        *,
        is_only_file: bool,
    ):
        self.first, self.tables = first, list[pa.Table]()
        self.constant_types: dict[str, pa.DataType] = {}
        self._spec, self._partitions = spec, set(partitions)
        self._wanted = set(columns_to_read(spec))
        self._read_footer = partial(_read_footer, spec=spec, stores=stores, is_only_file=is_only_file)
        self._problems: list[tuple[str, str]] = []
        self._sound: pa.Schema | None = None  # of the last file that was checked; many files have the same

    def read(self, files: GroupedFiles, numbers: NDArray[np.int64]) -> None:
        """Read the footers of the files that have these numbers in the listing."""
        batches = [numbers[first : first + _BATCH_FILES] for first in range(0, len(numbers), _BATCH_FILES)]
        checked, read = tee(file for batch in batches for file in files.take(batch))
        footers = map_in_threads(self._read_footer, (file.info for file in read), _FOOTER_THREADS)
        for batch in batches:
            self._add(zip(batch.tolist(), checked, footers, strict=False))

    def _add(self, found: Iterable[tuple[int, InputFile, Footer | str]]) -> None:
        """Check files, given their numbers and footers, and keep their row groups."""
        members, indices, is_pruned = list[Member](), list[int](), list[bool]()
        for index, file, footer in found:
            if isinstance(footer, str):
                self._problems.append(("", footer))  # each damaged file is named
                continue
            constants = self._check(file, footer)
            kept = set(footer.row_groups)
            for member in _row_groups(file.info, footer, self._spec.text_columns, constants):
                members.append(member)
                indices.append(index)
                is_pruned.append(member.row_group not in kept)
        if members:
            table = member_table(members).append_column(FILE_INDEX, pa.array(indices, pa.int64()))
            self.tables.append(table.append_column(IS_PRUNED, pa.array(is_pruned, pa.bool_())))

    def _check(self, file: InputFile, footer: Footer) -> dict[str, pa.Scalar]:
        """Check the columns of a file, and return those that it does not contain, with their values."""
        info, (constants, partitions, table) = file
        schema, found = footer.schema, list[str]()
        if table is not None:
            found += check_columns(info, schema, table, self._wanted)
            schema = pa.schema([field for field in schema if field.name in table.names])  # the others were dropped
        own = {name: constants[name] for name in partitions & self._wanted}
        if own and (table is None or not has_field_ids(table)):  # Iceberg guarantees that files and partitions agree
            found += check_partitions(info, footer, own)
        constants = {name: constants[name] for name in constants if name in self._wanted and name not in schema.names}
        for name, value in constants.items():
            schema = schema.append(pa.field(name, value.type))
            self.constant_types[name] = value.type
        if footer.unreadable or self._sound is None or not schema.equals(self._sound):
            wrong = list(check_schema(info, schema, footer.unreadable, self._spec, self.first))
            found += wrong
            self._sound = None if wrong else schema
            self.first = self.first or (None if wrong else FirstFile(info, schema))
        self._problems += ((info.url, message) for message in found)
        return constants

    def check(self) -> None:
        """Raise an error with a line for each problem that was found."""
        if self._problems:
            lines = _describe_problems(self._problems)
            num_more = len(lines) - _MAX_PROBLEMS
            more = f"\n… and {num_more} more" if num_more > 0 else ""
            # a file name may contain line breaks
            raise FatalError("\n".join(map(one_line, lines[:_MAX_PROBLEMS])) + more)


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
        return read_footer(source, columns_to_read(spec), spec.filter, spec.text_columns)


def _row_groups(
    file: FileInfo, footer: Footer, text_columns: Sequence[str], constants: Mapping[str, pa.Scalar]
) -> Iterator[Member]:
    """Yield the row groups of a file that have any rows."""
    num_rows = [footer.metadata.row_group(i).num_rows for i in range(footer.metadata.num_row_groups)]
    sizes = [footer.column_bytes[name] for name in text_columns if name in footer.column_bytes]
    for i, (rows, first) in enumerate(zip(num_rows, accumulate(num_rows, initial=0), strict=False)):
        if rows:
            text_bytes = sum(size[i] for size in sizes)
            yield Member(*file, i, 0, first, rows, text_bytes, constants)
