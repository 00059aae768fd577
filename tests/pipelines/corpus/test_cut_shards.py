"""How row groups are cut into shards, and which shards of an earlier plan are kept."""

from itertools import accumulate, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.cut_shards import ShardLimits, cut_shards
from pipelines.corpus.planned_shard import Member, PlannedShard, member_table, plan_table, planned_shards
from pipelines.corpus.shard_ids import derive_ids
from tests.pipelines.corpus.shards import shard_id

LIMITS = ShardLimits(max_rows=100, max_text_bytes=1000)

Sizes = dict[str, list[tuple[int, int]]]  # rows and bytes of the row groups of each file

SIZES = st.lists(
    st.lists(st.tuples(st.integers(1, 350), st.integers(0, 3000)), min_size=1, max_size=4), min_size=1, max_size=12
).map(lambda files: {f"/corpus/{i:02}.parquet": groups for i, groups in enumerate(files)})


def row_groups(sizes: Sizes, mtime_ns: int = 1, changed: str | None = None) -> pa.Table:
    members: list[Member] = []
    for file, groups in sorted(sizes.items()):
        firsts = accumulate((rows for rows, _ in groups), initial=0)
        time = mtime_ns + (file == changed)
        members += [
            Member(file, 9, time, "", i, 0, first, rows, size)
            for i, ((rows, size), first) in enumerate(zip(groups, firsts, strict=False))
        ]
    return member_table(members)


def cut(sizes: Sizes, kept: pa.Table | None = None, changed: str | None = None) -> list[PlannedShard]:
    return planned_shards(cut_shards(row_groups(sizes, changed=changed), LIMITS, kept))


def covered(shards: list[PlannedShard]) -> list[tuple[str, int, int]]:
    """List each row of the corpus once for each shard that contains it."""
    return sorted(
        (member.file, member.row_group, row)
        for shard in shards
        for member in shard.members
        for row in range(member.first_row, member.first_row + member.num_rows)
    )


def all_rows(sizes: Sizes) -> list[tuple[str, int, int]]:
    groups = [(file, i, rows) for file, groups in sorted(sizes.items()) for i, (rows, _) in enumerate(groups)]
    return [(file, i, row) for file, i, rows in groups for row in range(rows)]


@given(SIZES)
def test_each_row_is_in_one_shard_within_the_limits(sizes):
    shards = cut(sizes)
    assert covered(shards) == all_rows(sizes)
    assert len({shard.id for shard in shards}) == len(shards)
    for shard in shards:
        assert shard.id == shard_id(shard.members)
        assert shard.num_rows <= LIMITS.max_rows
        text_bytes = sum(member.text_bytes for member in shard.members)
        assert text_bytes <= LIMITS.max_text_bytes + text_bytes / shard.num_rows  # rows are not split
        if len(shard.members) > 1:  # only whole row groups share a shard
            assert all(m.num_rows == sizes[m.file][m.row_group][0] for m in shard.members)


@given(SIZES)
def test_neighbouring_shards_could_not_be_one(sizes):
    shards = cut(sizes)
    for a, b in pairwise(shards):
        whole = all(m.num_rows == sizes[m.file][m.row_group][0] for m in (*a.members, *b.members))
        if whole:
            rows = a.num_rows + b.members[0].num_rows
            size = sum(member.text_bytes for member in (*a.members, b.members[0]))
            assert rows > LIMITS.max_rows or size > LIMITS.max_text_bytes


@given(SIZES, SIZES)
def test_shards_stay_when_files_are_added(sizes, added):
    before = cut(sizes)
    # names that sort before, between and after those of the old files
    more = sizes | {f"{file}{'x' if i % 2 else ''}.new": groups for i, (file, groups) in enumerate(added.items())}
    more |= {f"/a{file}": groups for file, groups in added.items()}
    after = cut(more, plan_table(before))
    assert after[: len(before)] == before
    assert covered(after) == all_rows(more)


@given(SIZES, st.data())
def test_only_shards_with_rows_of_changed_and_deleted_files_are_planned_again(sizes, data):
    before = cut(sizes)
    changed = data.draw(st.sampled_from(sorted(sizes)))
    deleted = data.draw(st.sampled_from([None, *sorted(sizes)]))
    left = {file: groups for file, groups in sizes.items() if file != deleted}
    if not left:
        return
    after = cut(left, plan_table(before), changed=changed)
    assert covered(after) == all_rows(left)
    untouched = [s for s in before if {changed, deleted}.isdisjoint(member.file for member in s.members)]
    assert after[: len(untouched)] == untouched
    assert {s.id for s in before if s not in untouched}.isdisjoint(s.id for s in after[len(untouched) :])


@given(SIZES, st.data())
def test_an_incomplete_plan_is_completed(sizes, data):
    """As if the file of the plan had been edited: rows that no shard covers are planned, and none twice."""
    before = cut(sizes)
    some = data.draw(st.lists(st.sampled_from(before), max_size=2 * len(before)))
    assert covered(cut(sizes, plan_table(some))) == all_rows(sizes)


def test_many_small_files_are_as_many_shards_as_one_file():
    one = {"/one.parquet": [(20_000, 200_000)]}
    small = {f"/{i:05}.parquet": [(10, 100)] for i in range(2_000)}
    assert len(cut(small)) == len(cut(one)) == 200


def test_ids_of_one_file_sort_in_row_order():
    shards = cut({"/a.parquet": [(950, 10), (30, 10), (30, 10), (60, 10), (250, 10)]})
    ids = [shard.id for shard in shards]
    assert ids == sorted(ids)
    assert len(shards) == 15


MEMBERS = st.builds(
    Member,
    file=st.sampled_from(["/a", "/b"]),
    size_bytes=st.just(9),
    mtime_ns=st.integers(0, 1),
    etag=st.sampled_from(["", "x"]),
    row_group=st.sampled_from([0, 1, 100_000]),
    first_row=st.sampled_from([0, 5, 10**10]),
    file_row=st.integers(0, 4),
    num_rows=st.integers(1, 2),
)


@given(st.lists(st.lists(MEMBERS, min_size=1, max_size=4), max_size=8), st.integers(1, 9))
def test_ids_depend_on_the_members_alone(shards, at_once):
    """However many are derived at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.corpus.shard_ids._MEMBERS_AT_ONCE", at_once)
        offsets = np.cumsum([0, *map(len, shards)])
        ids = derive_ids(offsets, member_table([member for shard in shards for member in shard]))
    assert ids.to_pylist() == [shard_id(shard) for shard in shards]


def test_ids_of_existing_outputs_stay():
    one = Member("s3://corpus/ä.parquet", 100, 1_700_000_000_000_000_000, "", 2, 30, 1_030, 10)
    other = Member("s3://corpus/b.parquet", 200, 0, '"0f"', 0, 0, 0, 7)
    found = derive_ids(np.array([0, 1, 3]), member_table([one, one, other])).to_pylist()
    assert found == ["3ab78b5d5339b49a-00002-000000030", "1b9ed3caf61bb5d3-00002-000000030"]
