"""A shard of the plan: which rows of which file it covers, and how its id follows from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.storage import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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

# The plan has this last column, a struct with a field for each column of the input that has one value for all rows of
# a file. The field is null for files that contain the column, and else has the value, which may be null.
_CONSTANTS = "constants"
_VALUE = "value"

# The attributes of a planned shard with the columns of `PLAN`, in order.
_ATTRIBUTES = ("id", "file", "size_bytes", *PLAN.names[3:])


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
        constants: columns that the file does not contain, each with its value for all rows: partitions.
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
    constants: Mapping[str, pa.Scalar] = field(default_factory=dict[str, pa.Scalar])

    @property
    def file_info(self) -> FileInfo:
        """The input file as it was when the plan was made."""
        return FileInfo(self.file, self.size_bytes, self.mtime_ns, self.etag)

    @property
    def end_row(self) -> int:
        """The row after the shard's last one, counted within the file."""
        return self.file_row + self.num_rows


def planned_shards(plan: pa.Table) -> list[PlannedShard]:
    """Convert a plan to planned shards."""
    constants = plan[_CONSTANTS].combine_chunks() if _CONSTANTS in plan.column_names else []
    names: list[str] = plan.schema.field(_CONSTANTS).type.names if _CONSTANTS in plan.column_names else []
    return [
        PlannedShard(
            *(row[name] for name in PLAN.names),
            constants={name: constants[i][name][_VALUE] for name in names if constants[i][name].is_valid},
        )
        for i, row in enumerate(plan.select(PLAN.names).to_pylist())
    ]


def plan_table(shards: Iterable[PlannedShard]) -> pa.Table:
    """Convert planned shards to a plan: a table with the schema `PLAN` and, if needed, their constants."""
    shards = list(shards)
    plan = pa.table([[getattr(shard, name) for shard in shards] for name in _ATTRIBUTES], PLAN)
    types = {name: value.type for shard in shards for name, value in shard.constants.items()}
    if not types:
        return plan
    columns = [
        pa.StructArray.from_arrays(
            [pa.array([shard.constants.get(name) for shard in shards], kind)],
            [_VALUE],
            mask=pa.array([name not in shard.constants for shard in shards]),
        )
        for name, kind in types.items()
    ]
    return plan.append_column(_CONSTANTS, pa.StructArray.from_arrays(columns, list(types)))


def is_plan(schema: pa.Schema) -> bool:
    """Whether a table with this schema is a plan."""
    if schema.names[-1:] == [_CONSTANTS] and pa.types.is_struct(schema.types[-1]):
        schema = schema.remove(len(schema) - 1)
    return schema.equals(PLAN)


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
