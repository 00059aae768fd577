"""Read: from a row group of Parquet to its shards, each row group once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from pipelines.errors import RetryableError, ShardError
from pipelines.filter.parse import parse_filter
from pipelines.rows.schemas import ROW
from pipelines.rows.shard import STOPPED, Shard
from pipelines.stages.stop_signal import stop_requested
from pipelines.storage import FileInfo, Location, locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.storage.options import StoreSpec


@dataclass(frozen=True)
class Reader:
    """What to read of every row group.

    Attributes:
        schema: the rows as the shards hand them on: input columns, and the row's number in its file.
        columns: all columns to read, those of the filter included.
        filter: the job's filter expression.
        stores: options of the stores that the corpus lies in.
    """

    schema: pa.Schema
    columns: list[str]
    filter: str | None
    stores: tuple[StoreSpec, ...] = ()

    def read(self, shards: list[dict[str, Any]]) -> Iterator[Shard]:
        """Read one row group and cut it into the given shards of it, as rows of the plan.

        An error of the row group is the error of each of its shards.
        """
        began = time.perf_counter()
        try:
            table = self._read_row_group(shards[0])
            seconds = (time.perf_counter() - began) / len(shards)
        except Exception as error:
            for shard in shards:
                yield Shard(shard["shard"], pa.RecordBatch.from_pylist([], self.schema)).failed(error, self.schema)
            return
        for shard in shards:
            stats = {"file": shard["file"], "rows_read": shard["num_rows"], "read_s": round(seconds, 6)}
            try:
                rows = self._cut(table, shard)
            except Exception as error:
                yield Shard(shard["shard"], pa.RecordBatch.from_pylist([], self.schema)).failed(error, self.schema)
            else:
                yield Shard(shard["shard"], rows, stats=stats | {"rows_in": len(rows)})

    def _read_row_group(self, shard: dict[str, Any]) -> pa.Table:
        location = locate(shard["file"], self.stores)
        planned = FileInfo(shard["file"], shard["size"], shard["mtime_ns"])
        _check_unchanged(location, planned)
        try:
            table = read_row_group(location, shard["row_group"], self.columns)
        except RetryableError as error:
            raise ShardError(f"{error}; run it again") from None
        except (OSError, pa.ArrowException) as error:
            _check_unchanged(location, planned)
            raise ShardError(
                f"{planned.url}: row group {shard['row_group']} cannot be read ({type(error).__name__}); the file is "
                "damaged, write it again"
            ) from None
        _check_unchanged(location, planned)  # else it could be rows of another file
        return table

    def _cut(self, table: pa.Table, shard: dict[str, Any]) -> pa.RecordBatch:
        if len(table) < shard["first_row"] + shard["num_rows"]:
            raise ShardError(f"{shard['file']}: row group {shard['row_group']} has {len(table)} rows; plan again")
        part = shard_rows(table, shard, self.filter)
        part = part.select(self.schema.names).cast(self.schema)
        batches = part.combine_chunks().to_batches()
        if len(batches) > 1:
            raise ShardError(f"{shard['file']}: {len(part)} rows hold over 2 GiB of text; lower output.rows_per_shard")
        return batches[0] if batches else pa.RecordBatch.from_pylist([], self.schema)


def _check_unchanged(location: Location, planned: FileInfo) -> None:
    try:
        found = location.file_info()
    except FileNotFoundError:
        raise ShardError(f"{planned.url}: gone since the plan was made; run again to plan without it") from None
    if found != planned:
        raise ShardError(
            f"{planned.url}: changed since the plan was made (size {planned.size} to {found.size}); run again to "
            "plan with the new file"
        )


def read_row_group(location: Location, number: int, columns: list[str]) -> pa.Table:
    """Read some columns of one row group; string views are laid out as plain strings, since Arrow cannot filter them.

    Raises:
        OSError, pa.ArrowException: the file is gone or damaged.
        FatalError, RetryableError: see `Location`.
    """

    def read() -> pa.Table:
        with location.fs.open_input_file(location.path) as source:
            return pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True).read_row_group(
                number, columns=columns
            )

    table = location.persistently(read)
    for i, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(i, field.with_type(pa.large_string()), table.column(i).cast(pa.large_string()))
    return table


def shard_rows(row_group: pa.Table, shard: dict[str, Any], filter_text: str | None) -> pa.Table:
    """Give a shard's rows of its row group, each with its number in the file, less those that the filter leaves out."""
    rows = row_group.slice(shard["first_row"], shard["num_rows"])
    numbers = np.arange(shard["file_row"], shard["file_row"] + len(rows), dtype=np.int64)
    rows = rows.append_column(ROW, pa.array(numbers))
    return rows if filter_text is None else rows.filter(parse_filter(filter_text, row_group.schema)[0])


class PlanSource(Datasource):
    """Ray Data's view of a part of the plan: one read task a row group, or a shard if each is to be alone."""

    def __init__(self, reader: Reader, shards: pa.Table, *, alone: bool = False):
        super().__init__()
        self._reader = reader
        self._groups = [[shard] for shard in shards.to_pylist()] if alone else list(by_row_group(shards))

    @property
    def num_tasks(self) -> int:
        """Read tasks there will be."""
        return len(self._groups)

    def get_name(self) -> str:
        """Name the source for Ray's own displays."""
        return "Corpus"

    def estimate_inmemory_data_size(self) -> int | None:
        """Tell nothing: sizes on disk say little of text in memory."""
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """Give the tasks, whatever parallelism Ray asks for."""
        return [
            ReadTask(_ReadGroup(self._reader, group), BlockMetadata(len(group), None, None, None))
            for group in self._groups
        ]


@dataclass(frozen=True)
class _ReadGroup:
    reader: Reader
    shards: list[dict[str, Any]]

    def __call__(self) -> Iterable[pa.Table]:
        if stop_requested():
            nothing = pa.RecordBatch.from_pylist([], self.reader.schema)
            return (Shard(shard["shard"], nothing, error=STOPPED).to_table() for shard in self.shards)
        return (shard.to_table() for shard in self.reader.read(self.shards))


def by_row_group(shards: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """Give the plan's rows in runs of one row group each."""
    group: list[dict[str, Any]] = []
    for shard in shards.to_pylist():
        if group and (group[-1]["file"], group[-1]["row_group"]) != (shard["file"], shard["row_group"]):
            yield group
            group = []
        group.append(shard)
    if group:
        yield group
