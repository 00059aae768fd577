"""Cut the row groups of a corpus into shards of even work, and keep the shards of an earlier plan."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.corpus.known_files import have_same_files
from pipelines.corpus.planned_shard import MEMBER, build_plan, members_of
from pipelines.corpus.shard_ids import derive_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_Ints = np.ndarray[Any, np.dtype[np.int64]]


class ShardLimits(NamedTuple):
    """How large a shard may be. A single row may be larger.

    Attributes:
        max_rows: number of rows.
        max_text_bytes: size of their texts.
    """

    max_rows: int
    max_text_bytes: int = 2**24


def cut_shards(row_groups: pa.Table, limits: ShardLimits, kept: pa.Table | None = None) -> pa.Table:
    """Cut row groups into shards.

    A row group that exceeds the limits is cut evenly. Consecutive smaller ones share a shard, also those of several
    files. The shards of an earlier plan are kept if all their members are as they were, so that their parts stay
    valid; only all other row groups are cut.

    Args:
        row_groups: the row groups of the corpus that are read, whole, with the columns `MEMBER` and constants.
        limits: how large a shard may be.
        kept: an earlier plan of the same job.

    Returns:
        The plan: first the shards that are kept, in their order, and then the others, in input order.
    """
    old = _find_kept(row_groups, kept) if kept is not None else _Cut.empty()
    is_covered = np.zeros(len(row_groups), np.bool_)
    is_covered[old.row_groups] = True
    new = _cut(row_groups, np.flatnonzero(~is_covered), limits)
    plan_of = [_build(row_groups, cut) for cut in (old, new) if len(cut.offsets) > 1]
    return pa.concat_tables(plan_of) if plan_of else _build(row_groups.slice(0, 0), _Cut.empty())


class _Cut(NamedTuple):
    """Shards, whose members are parts of row groups.

    Attributes:
        offsets: [N + 1], shard i has the members from `offsets[i]` to before `offsets[i + 1]`.
        row_groups: for each member, the position of its row group in the table.
        first_rows, num_rows: for each member, its rows in the row group.
        ids: of the shards; None if they must be derived.
    """

    offsets: _Ints
    row_groups: _Ints
    first_rows: _Ints
    num_rows: _Ints
    ids: pa.Array | None = None

    @classmethod
    def empty(cls) -> _Cut:
        none = np.empty(0, np.int64)
        return cls(np.zeros(1, np.int64), none, none, none)


def _cut(row_groups: pa.Table, chosen: _Ints, limits: ShardLimits) -> _Cut:
    # three numbers for each member, of which there may be millions
    offsets, members = array("q", [0]), array("q")
    rows_of, bytes_of = (row_groups[name].to_numpy()[chosen] for name in ("num_rows", "text_bytes"))
    rows_left = bytes_left = 0  # that the last shard may still receive
    for i, num_rows, num_bytes in zip(chosen.data, rows_of.data, bytes_of.data, strict=True):
        num_pieces = min(max(-(-num_rows // limits.max_rows), -(-num_bytes // limits.max_text_bytes), 1), num_rows)
        if num_pieces > 1:
            size = -(-num_rows // num_pieces)
            for first_row in range(0, num_rows, size):
                members.extend((i, first_row, min(size, num_rows - first_row)))
                offsets.append(len(members))
            rows_left = bytes_left = 0
        elif num_rows:
            members.extend((i, 0, num_rows))
            if num_rows <= rows_left and num_bytes <= bytes_left:
                offsets[-1] = len(members)
                rows_left, bytes_left = rows_left - num_rows, bytes_left - num_bytes
            else:
                offsets.append(len(members))
                rows_left, bytes_left = limits.max_rows - num_rows, limits.max_text_bytes - num_bytes
    columns = np.array(members, np.int64).reshape(-1, 3).T
    return _Cut(np.array(offsets, np.int64) // 3, *columns)


def _find_kept(row_groups: pa.Table, kept: pa.Table) -> _Cut:
    """Find the shards of an earlier plan whose members are as they were, together with all other parts of them."""
    if kept["shard"].null_count:
        kept = kept.filter(kept["shard"].is_valid())
    offsets, members = members_of(kept)
    if not len(members):
        return _Cut.empty()
    positions, is_same = _find_row_groups(row_groups, members)
    first_rows, num_rows = members["first_row"].to_numpy(), members["num_rows"].to_numpy()
    is_same &= members["file_row"].to_numpy() == row_groups["file_row"].to_numpy()[positions] + first_rows
    shard_of = np.repeat(np.arange(len(kept)), np.diff(offsets))
    is_kept = np.logical_and.reduceat(is_same, offsets[:-1])
    sizes = row_groups["num_rows"].to_numpy()
    while True:  # a row group is kept with all its parts, or not at all
        chosen = np.flatnonzero(is_kept[shard_of])
        is_whole = _are_covered(sizes, positions[chosen], first_rows[chosen], num_rows[chosen])
        broken = shard_of[chosen[~is_whole[positions[chosen]]]]
        if not len(broken):
            break
        is_kept[broken] = False
    lengths = np.diff(offsets)[is_kept]
    ids = kept["shard"].combine_chunks().filter(pa.array(is_kept))
    return _Cut(np.concatenate([[0], np.cumsum(lengths)]), positions[chosen], first_rows[chosen], num_rows[chosen], ids)


def _find_row_groups(row_groups: pa.Table, members: pa.Table) -> tuple[_Ints, NDArray[np.bool_]]:
    """Return the position of the row group of each member, and whether there is one in the same version of its file."""
    files = row_groups["file"].unique()

    def keys(table: pa.Table) -> _Ints:
        numbers = pc.fill_null(pc.index_in(table["file"], value_set=files), -1).to_numpy().astype(np.int64)
        return numbers << 32 | table["row_group"].to_numpy()

    keys_in_order = keys(row_groups)
    order = np.argsort(keys_in_order, kind="stable")
    wanted = keys(members)
    found = order[np.minimum(np.searchsorted(keys_in_order[order], wanted), len(order) - 1)]
    is_same = have_same_files(row_groups, found, members)
    return found, is_same & (keys_in_order[found] == wanted)


def _are_covered(sizes: _Ints, positions: _Ints, first_rows: _Ints, num_rows: _Ints) -> NDArray[np.bool_]:
    """Return for each row group whether the given parts contain each of its rows once."""
    order = np.lexsort((first_rows, positions))
    positions, first_rows, num_rows = positions[order], first_rows[order], num_rows[order]
    ends = first_rows + num_rows
    is_first = np.diff(positions, prepend=-1) != 0
    follows = np.where(is_first, first_rows == 0, first_rows == np.concatenate([[0], ends[:-1]]))
    is_last = np.diff(positions, append=-1) != 0
    is_sound = follows & (num_rows > 0) & (~is_last | (ends == sizes[positions]))
    covered = np.ones(len(sizes), np.bool_)
    covered[positions[~is_sound]] = False
    return covered


def _build(row_groups: pa.Table, cut: _Cut) -> pa.Table:
    chosen = row_groups.take(pa.array(cut.row_groups))
    text_bytes = chosen["text_bytes"].to_numpy() * cut.num_rows // np.maximum(chosen["num_rows"].to_numpy(), 1)
    changed = {
        "first_row": cut.first_rows,
        "file_row": chosen["file_row"].to_numpy() + cut.first_rows,
        "num_rows": cut.num_rows,
        "text_bytes": text_bytes,
    }
    for name, values in changed.items():
        chosen = chosen.set_column(
            chosen.schema.get_field_index(name), MEMBER.field(name), pa.array(values, pa.int64())
        )
    ids = cut.ids if cut.ids is not None else derive_ids(cut.offsets, chosen)
    return build_plan(ids, cut.offsets, chosen)
