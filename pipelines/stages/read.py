"""The read stage: read each row group once, and cut it into its shards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.corpus import (
    UnsupportedInputError,
    explain_unreadable,
    read_row_group,
    select_rows,
)
from pipelines.errors import ShardError
from pipelines.formatting import format_count
from pipelines.rows import Shard, ShardStats, cast_table, empty_batch
from pipelines.storage import FileInfo, Location, locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.corpus import PlannedShard
    from pipelines.storage import StoreSettings


@dataclass(frozen=True)
class Reader:
    """What to read of every row group.

    Attributes:
        schema: the rows passed on: input columns, and the row's number in its file.
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

    def read(self, planned: list[PlannedShard]) -> Iterator[Shard]:
        """Read one row group and yield the given shards of it.

        If the row group cannot be read, each of its shards fails with that error.
        """
        start = time.perf_counter()
        try:
            table = self._read_row_group(planned[0])
            seconds = (time.perf_counter() - start) / len(planned)
        except Exception as error:
            for shard in planned:
                yield self.empty_shard(shard).failed(error, self.schema)
            return
        for shard in planned:
            try:
                rows = self._cut(table, shard)
            except Exception as error:
                yield self.empty_shard(shard).failed(error, self.schema)
            else:
                stats = ShardStats(shard.file, shard.num_rows, rows_in=len(rows), read_s=round(seconds, 6))
                yield Shard(shard.id, rows, stats)

    def empty_shard(self, planned: PlannedShard) -> Shard:
        """Return a shard of which no row was read."""
        return Shard(planned.id, empty_batch(self.schema), ShardStats(planned.file, planned.num_rows))

    def _read_row_group(self, shard: PlannedShard) -> pa.Table:
        location = locate(shard.file, self.stores)
        _check_unchanged(location, shard.file_info)
        try:
            table = read_row_group(location, shard, self.columns)
        except UnsupportedInputError as error:
            raise ShardError(f"{shard.file}: row group {shard.row_group} {error}") from None
        except (OSError, pa.ArrowException) as error:
            _check_unchanged(location, shard.file_info)
            raise ShardError(f"{shard.file}: row group {shard.row_group} {explain_unreadable(error)}") from None
        _check_unchanged(location, shard.file_info)  # the file may have been replaced while it was read
        return table

    def _cut(self, table: pa.Table, shard: PlannedShard) -> pa.RecordBatch:
        if len(table) < shard.first_row + shard.num_rows:
            raise ShardError(
                f"{shard.file}: row group {shard.row_group} has {format_count(len(table), 'row')}, expected at least "
                f"{shard.first_row + shard.num_rows}; run the job again to make a new plan"
            )
        rows = select_rows(table, shard, self.filter)
        for name, column in self.renamed.items():
            rows = rows.append_column(name, rows[column])
        rows = cast_table(rows, self.schema)
        batches = rows.combine_chunks().to_batches()
        if len(batches) > 1:
            raise ShardError(
                f"{shard.file}: {format_count(len(rows), 'row')} with over 2 GiB of text; lower output.rows_per_shard"
            )
        return batches[0] if batches else empty_batch(self.schema)


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
