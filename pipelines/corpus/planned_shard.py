"""A shard of the plan: which rows of which files it covers, and how its id follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.storage import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# The columns of a member of a shard; the attributes of `Member`.
MEMBER = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("first_row", pa.int64(), nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("num_rows", pa.int64(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
    ]
)

# Members have this last column, a struct with a field for each column of the input that has one value for all rows of
# a file. The field is null for files that contain the column, and else has the value, which may be null.
CONSTANTS = "constants"
_VALUE = "value"

_SHARDS_AT_ONCE = 4_096  # that are Python objects


@dataclass(frozen=True, slots=True)
class Member:
    """Consecutive rows of one row group, which are a part of a shard or all of it.

    Attributes:
        file: URL of the input file.
        size_bytes, mtime_ns, etag: of the file when the plan was made; they tell whether it is still the same file.
        row_group: the row group's number in the file.
        first_row: the first row, counted within the row group.
        file_row: the same row, counted within the file.
        num_rows: number of rows before the filter.
        text_bytes: the approximate size of their texts.
        constants: columns that the file does not contain, each with its value for all rows: partitions.
    """

    file: str
    size_bytes: int
    mtime_ns: int
    etag: str
    row_group: int
    first_row: int
    file_row: int
    num_rows: int
    text_bytes: int = 0
    constants: Mapping[str, pa.Scalar] = field(default_factory=dict[str, pa.Scalar])

    @property
    def file_info(self) -> FileInfo:
        """The input file as it was when the plan was made."""
        return FileInfo(self.file, self.size_bytes, self.mtime_ns, self.etag)

    @property
    def end_row(self) -> int:
        """The row after the last one, counted within the file."""
        return self.file_row + self.num_rows

    def cut(self, start: int, stop: int) -> Member:
        """Return some of its rows, by their positions in it."""
        start, stop = max(start, 0), min(stop, self.num_rows)
        return replace(
            self, first_row=self.first_row + start, file_row=self.file_row + start, num_rows=max(0, stop - start)
        )


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A row of the plan.

    Attributes:
        id: the shard's id.
        members: its rows: a part of one row group, or all rows of several row groups, which may be of several files.
    """

    id: str
    members: tuple[Member, ...]

    @property
    def num_rows(self) -> int:
        """Number of rows before the filter."""
        return sum(member.num_rows for member in self.members)

    @property
    def starts(self) -> list[int]:
        """The position in the shard of the first row of each member."""
        return [*accumulate((member.num_rows for member in self.members[:-1]), initial=0)]

    def cut(self, start: int, num_rows: int) -> PlannedShard:
        """Return a shard of some of its rows, by their positions in it."""
        parts = (
            member.cut(start - first, start + num_rows - first)
            for member, first in zip(self.members, self.starts, strict=True)
        )
        return PlannedShard(f"{self.id}+{start}-{num_rows}", tuple(part for part in parts if part.num_rows))


def plan_schema(constants: pa.DataType | None = None) -> pa.Schema:
    """Return the schema of a plan: a row for each shard, with its members.

    The shard id is null in a last row, whose members are the row groups that are not read.
    """
    fields = [*MEMBER, *([] if constants is None else [pa.field(CONSTANTS, constants)])]
    members = pa.field("item", pa.struct(fields), nullable=False)
    return pa.schema(
        [
            pa.field("shard", pa.string()),
            pa.field("num_rows", pa.int64(), nullable=False),
            pa.field("members", pa.list_(members), nullable=False),
        ]
    )


def is_plan(schema: pa.Schema) -> bool:
    """Whether a table with this schema is a plan."""
    # Names are only compared by Arrow: those of a damaged file may not be UTF-8, which Python's strings must be.
    index = schema.get_field_index("members")
    if index < 0 or not pa.types.is_list(schema.field(index).type):
        return False
    member = schema.field(index).type.value_type
    has_constants = pa.types.is_struct(member) and member.get_field_index(CONSTANTS) >= 0
    constants = member.field(CONSTANTS).type if has_constants else None
    return schema.remove_metadata().equals(plan_schema(constants))


def build_plan(shards: pa.Array, offsets: np.ndarray[Any, Any], members: pa.Table) -> pa.Table:
    """Build a plan.

    Args:
        shards: N shard ids.
        offsets: [N + 1], shard i has the members from `offsets[i]` to before `offsets[i + 1]`.
        members: the members of all shards, with the columns `MEMBER` and constants if there are any.
    """
    struct = _to_struct_array(members)
    schema = plan_schema(struct.type.field(CONSTANTS).type if CONSTANTS in members.column_names else None)
    num_rows = np.add.reduceat(members["num_rows"].to_numpy(), offsets[:-1]) if len(shards) else np.empty(0, np.int64)
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), struct, type=schema.field("members").type)
    return pa.Table.from_arrays([shards, pa.array(num_rows, pa.int64()), lists], schema=schema)


def members_of(plan: pa.Table) -> tuple[np.ndarray[Any, Any], pa.Table]:
    """Return the members of a plan's shards, and the offsets [N + 1] of each shard's members; see `build_plan`."""
    column = _to_array(plan["members"])
    offsets = column.offsets.to_numpy().astype(np.int64) if len(column) else np.zeros(1, np.int64)
    values = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    arrays = [values.field(i) for i in range(values.type.num_fields)]
    return offsets - offsets[0], pa.Table.from_arrays(arrays, schema=pa.schema(list(values.type)))


def planned_shards(plan: pa.Table) -> list[PlannedShard]:
    """Convert a plan to planned shards."""
    offsets, members = members_of(plan)
    rows = [tuple(row.values()) for row in members.select(MEMBER.names).to_pylist()]
    constants = _read_constants(members)
    found = [Member(*row, constants=values) for row, values in zip(rows, constants, strict=True)]
    bounds = pairwise(offsets.tolist())
    return [PlannedShard(i, tuple(found[a:b])) for i, (a, b) in zip(plan["shard"].to_pylist(), bounds, strict=True)]


def plan_table(shards: Iterable[PlannedShard]) -> pa.Table:
    """Convert planned shards to a plan."""
    shards = list(shards)
    offsets = np.array([0, *accumulate(len(shard.members) for shard in shards)], np.int64)
    members = member_table([member for shard in shards for member in shard.members])
    return build_plan(pa.array([shard.id for shard in shards], pa.string()), offsets, members)


def member_table(members: Sequence[Member]) -> pa.Table:
    """Convert members to a table with the columns `MEMBER` and, if there are any, their constants."""
    attributes = ("size_bytes" if name == "size" else name for name in MEMBER.names)
    table = pa.table([[getattr(member, name) for member in members] for name in attributes], MEMBER)
    types = {name: value.type for member in members for name, value in member.constants.items()}
    if not types:
        return table
    columns = [
        pa.StructArray.from_arrays(
            [pa.array([member.constants.get(name) for member in members], kind)],
            [_VALUE],
            mask=pa.array([name not in member.constants for member in members]),
        )
        for name, kind in types.items()
    ]
    return table.append_column(CONSTANTS, pa.StructArray.from_arrays(columns, list(types)))


def constant_types(members: pa.Table) -> dict[str, pa.DataType]:
    """Return the types of the constants of members."""
    if CONSTANTS not in members.column_names:
        return {}
    return {constant.name: constant.type.field(0).type for constant in members.schema.field(CONSTANTS).type}


def with_constants(members: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return members with a field for each of these constants, which is null where it was missing."""
    others = [name for name in members.column_names if name not in (*MEMBER.names, CONSTANTS)]
    table = members.select(MEMBER.names)
    if types:
        column = members[CONSTANTS].combine_chunks() if CONSTANTS in members.column_names else None
        found = constant_types(members)
        columns = [
            column.field(name)
            if column is not None and name in found
            else pa.nulls(len(members), pa.struct([(_VALUE, kind)]))
            for name, kind in types.items()
        ]
        table = table.append_column(CONSTANTS, pa.StructArray.from_arrays(columns, list(types)))
    for name in others:
        table = table.append_column(name, members[name])
    return table


def group_by_row_group(shards: Iterable[PlannedShard]) -> Iterator[list[PlannedShard]]:
    """Yield shards in plan order, consecutive ones together if they are parts of one row group."""
    group: list[PlannedShard] = []
    for shard in shards:
        if group and not _share_row_group(group[-1].members, shard.members):
            yield group
            group = []
        group.append(shard)
    if group:
        yield group


def read_groups(plan: pa.Table) -> Iterator[list[PlannedShard]]:
    """Yield the shards of a plan of any size as `group_by_row_group` does, a part of them as Python objects at once."""
    for first in range(0, len(plan), _SHARDS_AT_ONCE):
        yield from group_by_row_group(planned_shards(plan.slice(first, _SHARDS_AT_ONCE)))


def _share_row_group(members: Sequence[Member], others: Sequence[Member]) -> bool:
    if len(members) > 1 or len(others) > 1:
        return False
    before, after = members[0], others[0]
    return (before.file, before.row_group) == (after.file, after.row_group) and before.end_row <= after.file_row


def _to_struct_array(members: pa.Table) -> pa.StructArray:
    arrays = [_to_array(column) for column in members.columns]
    return pa.StructArray.from_arrays(arrays, fields=list(members.schema))


def _to_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array. Unlike `combine_chunks`, this does not copy a column of one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _read_constants(members: pa.Table) -> list[dict[str, pa.Scalar]]:
    if CONSTANTS not in members.column_names:
        return [{}] * len(members)
    column = members[CONSTANTS].combine_chunks()
    names: list[str] = column.type.names
    return [{name: value[name][_VALUE] for name in names if value[name].is_valid} for value in column]
