"""The read stage: read the rows of shards from the input files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.corpus import (
    MemberReader,
    UnsupportedInputError,
    explain_unreadable,
    join_alike,
    select_rows,
)
from pipelines.errors import ShardError
from pipelines.formatting import format_count
from pipelines.rows import Shard, ShardStats, Source, cast_table, empty_batch
from pipelines.storage import FileInfo, Location, locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.corpus import Member, PlannedShard
    from pipelines.storage import StoreSettings


_MAX_NAMED = 20  # files in a message


@dataclass(frozen=True)
class Reader:
    """What to read of every shard.

    Attributes:
        schema: the rows passed on: input columns, and the row's position in the shard.
        columns: all columns to read, including those of the filter.
        filter: the job's filter expression.
        renamed: names in `schema` that columns are copied to, and these columns.
        stores: options of the stores that contain the corpus.
    """

    schema: pa.Schema
    columns: list[str]
    filter: str | None
    renamed: Mapping[str, str]
    stores: tuple[StoreSettings, ...] = ()

    def read(self, planned: Iterable[PlannedShard]) -> Iterator[Shard]:
        """Read shards of the plan, and yield them. If one cannot be read, it fails with that error."""
        with MemberReader(self.columns, self.stores) as reader:
            for shard in planned:
                start = time.perf_counter()
                try:
                    rows = self._read_rows(shard, reader)
                except Exception as error:
                    yield self.empty_shard(shard).failed(error, self.schema)
                    continue
                seconds = round(time.perf_counter() - start, 6)
                yield Shard(shard.id, rows, ShardStats(_sources(shard), rows_in=len(rows), read_s=seconds))

    def empty_shard(self, planned: PlannedShard) -> Shard:
        """Return a shard of which no row was read."""
        return Shard(planned.id, empty_batch(self.schema), ShardStats(_sources(planned)))

    def _read_rows(self, shard: PlannedShard, reader: MemberReader) -> pa.RecordBatch:
        tables: list[pa.Table] = []
        position = 0
        for table in join_alike(self._read_members(shard, reader)):
            rows = select_rows(table, position, self.filter)
            position += len(table)
            for name, column in self.renamed.items():
                rows = rows.append_column(name, rows[column])
            tables.append(cast_table(rows, self.schema))
        rows = pa.concat_tables(tables)
        batches = rows.combine_chunks().to_batches()
        if len(batches) > 1:
            raise ShardError(
                f"{shard.members[0].file}: {format_count(len(rows), 'row')} with over 2 GiB of text; lower "
                "output.rows_per_shard"
            )
        return batches[0] if batches else empty_batch(self.schema)

    def _read_members(self, shard: PlannedShard, reader: MemberReader) -> Iterator[pa.Table]:
        """Yield the rows of each member. If some cannot be read, all of their files are named in one error."""
        errors: dict[str, ShardError] = {}
        for member in shard.members:
            try:
                table = self._read_member(member, reader)
            except ShardError as error:
                errors.setdefault(member.file, error)
            else:
                if not errors:
                    yield table
        if errors:
            raise ShardError(_describe_unreadable(errors, len({member.file for member in shard.members})))

    def _read_member(self, member: Member, reader: MemberReader) -> pa.Table:
        location = locate(member.file, self.stores)
        try:
            table = reader.read(member)
        except UnsupportedInputError as error:
            raise ShardError(f"{member.file}: row group {member.row_group} {error}") from None
        except (OSError, IndexError, pa.ArrowException) as error:
            _check_unchanged(location, member.file_info)
            raise ShardError(f"{member.file}: row group {member.row_group} {explain_unreadable(error)}") from None
        _check_unchanged(location, member.file_info)  # the file may have been replaced meanwhile
        return table


def _describe_unreadable(errors: Mapping[str, ShardError], num_files: int) -> str:
    """Describe the files of a shard that cannot be read: the first one, the names of others, and what waits for them.

    Args:
        errors: the error of each file.
        num_files: number of all files of the shard.
    """
    (_, first), *more = errors.items()
    described = str(first)
    if more:
        names = ", ".join(file for file, _ in more[:_MAX_NAMED]) + (" …" if more[_MAX_NAMED:] else "")
        described += f"; {format_count(len(more), 'more file')} of the shard cannot be read: {names}"
    if num_others := num_files - len(errors):
        others = format_count(num_others, "other file")
        described += f"; {others} of the shard {'are' if num_others > 1 else 'is'} processed once "
        described += "these are replaced or deleted" if more else "this one is replaced or deleted"
    return described


def _sources(shard: PlannedShard) -> tuple[Source, ...]:
    return tuple(Source(member.file, member.file_row, member.num_rows) for member in shard.members)


def _check_unchanged(location: Location, planned: FileInfo) -> None:
    try:
        found = location.file_info()
    except FileNotFoundError:
        raise ShardError(
            f"{planned.url}: deleted after the plan was made; run the job again to plan without it"
        ) from None
    if found != planned:
        raise ShardError(
            f"{planned.url}: changed after the plan was made (size {planned.size} to {found.size}); run the job again "
            "to plan with the new file"
        )
