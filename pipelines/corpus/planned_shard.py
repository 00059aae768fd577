"""A shard of the plan: which rows of which file it covers, and how its id follows from them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.storage import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAN = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("first_row", pa.int64(), nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("num_rows", pa.int64(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A row of the plan.

    Attributes:
        id: the shard's id.
        file: URL of the input file.
        size_bytes, mtime_ns, etag: of the file when the plan was made; they tell whether it is still the same file.
        row_group: the row group's number in the file.
        first_row: the shard's first row, counted within the row group.
        file_row: the same row, counted within the file.
        num_rows: number of rows before the filter.
    """

    id: str
    file: str
    size_bytes: int
    mtime_ns: int
    row_group: int
    first_row: int
    file_row: int
    num_rows: int
    etag: str = ""

    @property
    def file_info(self) -> FileInfo:
        """The input file as it was when the plan was made."""
        return FileInfo(self.file, self.size_bytes, self.mtime_ns, self.etag)

    @property
    def end_row(self) -> int:
        """The row after the shard's last one, counted within the file."""
        return self.file_row + self.num_rows

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> PlannedShard:
        """Build a planned shard from a row of `PLAN`."""
        return cls(row["shard"], row["file"], row["size"], *(row[name] for name in PLAN.names[3:]))

    def to_row(self) -> dict[str, Any]:
        """Return the planned shard as the Python value of a row of `PLAN`."""
        return dict(zip(PLAN.names, asdict(self).values(), strict=True))


def planned_shards(plan: pa.Table) -> list[PlannedShard]:
    """Convert a table with the schema `PLAN` to planned shards."""
    return [PlannedShard.from_row(row) for row in plan.to_pylist()]


def plan_table(shards: Iterable[PlannedShard]) -> pa.Table:
    """Convert planned shards to a table with the schema `PLAN`."""
    return pa.Table.from_pylist([shard.to_row() for shard in shards], PLAN)


def shard_id(file: FileInfo, row_group: int, first_row: int) -> str:
    """Derive a shard's id from its file, the file's identity, and the shard's position in the file.

    Other files of the corpus do not affect the id. The ids of one file sort in row order.
    """
    identity = hashlib.sha256(f"{file.url}\0{file.size}\0{file.mtime_ns}\0{file.etag}".encode()).hexdigest()[:16]
    return f"{identity}-{row_group:05d}-{first_row:09d}"


def group_by_row_group(shards: Iterable[PlannedShard]) -> Iterator[list[PlannedShard]]:
    """Yield the consecutive shards of each row group, in plan order."""
    group: list[PlannedShard] = []
    for shard in shards:
        if group and (group[-1].file, group[-1].row_group) != (shard.file, shard.row_group):
            yield group
            group = []
        group.append(shard)
    if group:
        yield group
