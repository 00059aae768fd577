"""Which shards of a plan are done, given the ledger and the files of an output."""

import pyarrow as pa
import pytest

from pipelines.output.directory import Output
from pipelines.output.resume import check_parts, compare_with_plan, remove_stale_parts
from pipelines.rows import LangCounts
from pipelines.storage import encode_parquet, locate
from tests.pipelines.output.shard_records import make_record

SCHEMA = pa.schema([("shard", pa.string()), ("num_rows", pa.int64())])


def plan_of(records, **num_rows):
    rows = [{"shard": r.shard, "num_rows": num_rows.get(f"row{i}", r.rows_read)} for i, r in enumerate(records)]
    return pa.Table.from_pylist(rows, SCHEMA)


@pytest.fixture
def records():
    """Records of six shards, of which every second one has rejected rows."""
    none = {"reasons": {}, "rejected_langs": {}, "rows_rejected": 0, "rejected_bytes": None, "rejected_digest": None}
    return [make_record(i, rows_read=10 + i, bytes=20 + i, **({} if i % 2 else none)) for i in range(6)]


@pytest.fixture
def output(tmp_path, records):
    """An output with the files of these records."""
    output = Output(locate(str(tmp_path / "out")))
    for record in records:
        output.put_part(record.part, pa.py_buffer(bytes(record.bytes)))
        if record.rejected_bytes is not None:
            (output.rejected / record.part).put(bytes(record.rejected_bytes))
    output.begin({}, plan_of(records))
    output.ledger.append(records)
    return output


def test_shards_with_a_record_and_its_files_are_done(output, records):
    more = [*records[:3], make_record(77), *records[3:]]
    state = compare_with_plan(output, plan_of(more), {})
    assert list(state.recorded) == records
    assert state.todo["shard"].to_pylist() == [make_record(77).shard]
    assert [record.shard for record in records] == state.shards["shard"].to_pylist()[:-1]
    assert (state.stale_parts, state.notes, state.num_done, state.num_removed) == ([], [], 6, 0)
    assert state.totals().counts["bytes"] == sum(record.bytes for record in records)
    check_parts(output, state.recorded)


def test_record_of_other_rows_than_planned_is_not_current(output, records):
    plan = plan_of(records, row2=11)
    state = compare_with_plan(output, plan, {})
    assert state.todo["shard"].to_pylist() == [records[2].shard]
    assert state.stale_parts == [records[2].part]
    assert state.notes == ["computing 1 part again, with other rows than planned"]
    remove_stale_parts(output, state)
    assert list(output.ledger.load()) == [record for record in records if record != records[2]]
    assert compare_with_plan(output, plan, {}).notes == []


def test_each_kind_of_shard_that_is_computed_again_is_noted(output, records):
    (output.parts / records[0].part).delete()
    (output.rejected / records[1].part).delete()
    (output.rejected / records[2].part).put(b"of an earlier attempt")
    state = compare_with_plan(output, plan_of(records[:5], row4=99), {}, retry_rejected=["empty_text"])
    assert state.notes == [
        "removing 1 part of files that changed or were deleted: /in.parquet",
        "computing 3 parts again, missing or changed since being recorded",
        "computing 1 part again, with other rows than planned",
        "computing 1 part again, because of their rejected rows",
    ]
    assert state.stale_parts == [record.part for record in records]
    assert state.num_removed == 1


def test_rows_of_the_plan_that_no_shard_has_are_ignored(output, records):
    """Such as row groups that the filter drops."""
    plan = pa.concat_tables([plan_of(records), pa.Table.from_pylist([{"shard": None, "num_rows": 5}], SCHEMA)])
    (output.bookkeeping / "plan.parquet").put(encode_parquet(plan))
    assert output.read_planned_rows() == plan_of(records)
    assert output.num_planned() == len(records)


def test_records_are_added_up_and_found_by_what_they_have(output, records):
    langs = [
        (),
        (LangCounts("de", 2, 9, 1, 0, (1,) * 16),),
        (LangCounts("de", 1, 1, 1, 1), LangCounts("x", 7, 7, 7, 7)),
    ]
    output.ledger.replace(
        [
            make_record(
                i, langs=langs[i % 3], segmenters={"moses": "1"} if i % 2 else {}, reasons={"r": i} if i else {}
            )
            for i in range(3000)
        ]
    )
    found = output.ledger.load()
    assert found.totals().langs == [
        LangCounts("x", 7000, 7000, 7000, 7000),
        LangCounts("de", 3000, 10000, 2000, 1000, (1000,) * 16),
    ]
    assert found.totals().reasons == {"r": sum(range(3000))}
    assert found.first_with("langs", 2) == {"de": [1, 2], "x": [2, 5]}
    assert found.first_with("reasons") == {"r": [1]}
    assert found.segmenters() == {("moses", "1")}
    assert found.rejected_for(["r", "s"]).tolist() == [False] + [True] * 2999
    assert not found.rejected_for(["s"]).any()
