"""The ledger returns the records that were appended, and refuses files that no run writes."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.planned_shard import Member, member_table
from pipelines.corpus.shard_ids import derive_ids
from pipelines.errors import FatalError
from pipelines.output.layout import SHARD_ID, part_name
from pipelines.output.ledger import Ledger, ReplacedError, retry_if_replaced
from pipelines.output.ledger import ledger as ledger_module
from pipelines.output.shard_record import RECORD, ShardRecord, ShardResult
from pipelines.rows.shard_failure import FailureKind, ShardFailure
from pipelines.rows.shard_stats import LangCounts
from pipelines.storage import Location, locate
from tests.pipelines.output.shard_records import make_record

COMMITTED = pa.field("committed_ns", pa.int64())
LANGS = (LangCounts("de", rows=2, tokens=9, truncated=1, unknown=0), LangCounts("und", 1, 3, 0, 3))


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(locate(str(tmp_path)))


def test_later_record_of_a_shard_replaces_the_earlier_one(ledger):
    ledger.append([make_record(1), make_record(2)])
    ledger.append([])
    ledger.append([make_record(2, tokens=5)])
    assert [record.tokens for record in ledger.history()] == [1, 1, 5]
    assert list(ledger.load()) == [make_record(1), make_record(2, tokens=5)]
    ledger.replace([make_record(3)])
    assert list(ledger.history()) == [make_record(3)]


@pytest.mark.parametrize(
    "record",
    [
        make_record(1, langs=LANGS, segmenters={"moses": "sacremoses 1", "ja": "fugashi 1"}, read_s=0.25, write_s=1e-9),
        make_record(1, rejected_bytes=None, rejected_digest=None, reasons={}),
    ],
)
def test_record_is_loaded_unchanged(ledger, record):
    ledger.append([record])
    assert list(ledger.history()) == [record]


@pytest.mark.parametrize(
    "result",
    [
        ShardResult("a", make_record(1, langs=LANGS)),
        ShardResult("a", failure=ShardFailure(FailureKind.FATAL, "no space")),
        ShardResult("a"),
    ],
)
def test_result_survives_packing_into_a_table(result):
    (row,) = result.to_table().to_pylist(maps_as_pydicts="strict")
    assert ShardResult.from_row(row) == result


@given(st.text(), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**30), st.integers(0, 2**50))
def test_ledger_accepts_every_shard_id(url, size, mtime_ns, row_group, first_row):
    member = Member(url.encode(errors="replace").decode(), size, mtime_ns, "", row_group, first_row, first_row, 1)
    (name,) = derive_ids(np.array([0, 1]), member_table([member])).to_pylist()
    assert SHARD_ID.fullmatch(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"shard": "../../../etc/passwd"},
        {"shard": "../0123456789abcdef-00000-000000000", "part": "part-../0123456789abcdef-00000-000000000.parquet"},
        {"shard": "0123456789abcdef-00000-000000000\n", "part": "part-0123456789abcdef-00000-000000000\n.parquet"},
        {"shard": "0123456789abcdef-00000-٠٠٠٠", "part": "part-0123456789abcdef-00000-٠٠٠٠.parquet"},
        {"shard": "0123456789ABCDEF-00000-000000000", "part": "part-0123456789ABCDEF-00000-000000000.parquet"},
        {"shard": "", "part": "part-.parquet"},
        {"part": "../../../etc/passwd"},
        {"part": part_name(make_record(1).shard)},
        {"part": None},
        {"rows_out": None},
        {"langs": None},
        {"bytes": -1},
    ],
)
def test_record_that_no_run_writes_is_refused(ledger, tmp_path, changes):
    ledger.append([make_record(1), make_record(2)])
    (file,) = tmp_path.iterdir()
    rows = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([rows[0], rows[1] | changes], RECORD.append(COMMITTED)), file)
    with pytest.raises(FatalError, match=rf"{file.name}: a damaged ledger file; delete it"):
        ledger.load()
    with pytest.raises(ValueError, match="not a record"):
        ShardRecord.from_row(make_record(2).to_row() | changes)


@pytest.mark.parametrize("length", [0, 4, 99, -1, -30])
def test_truncated_file_is_refused(ledger, tmp_path, length):
    ledger.append([make_record(1)])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(FatalError, match="a damaged ledger file"):
        ledger.load()


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"shard": [make_record(1).shard]}),
        pa.table({name: ["x"] for name in [*RECORD.names, COMMITTED.name]}),
        pa.Table.from_pylist([make_record(1).to_row()], RECORD),
        pa.table({"shard": pa.nulls(1)}),
    ],
)
def test_file_with_other_columns_is_refused(ledger, tmp_path, table):
    pq.write_table(table, tmp_path / "1.parquet")
    with pytest.raises(FatalError, match="a damaged ledger file"):
        ledger.load()


def test_temporary_files_of_killed_writers_are_ignored(ledger, tmp_path):
    ledger.append([make_record(1)])
    Path(tmp_path / ".2.parquet.ab12.tmp").write_bytes(b"PAR1")
    Path(tmp_path / "notes.txt").write_bytes(b"")
    assert len(ledger.load()) == 1


@pytest.fixture
def _merges_often(monkeypatch):
    monkeypatch.setattr(ledger_module, "_MAX_SMALL_FILES", 4)
    monkeypatch.setattr(ledger_module, "_BIG_FILE_BYTES", 20_000)


@pytest.mark.usefixtures("_merges_often")
def test_files_are_merged_without_a_change_of_records(ledger, tmp_path):
    text = random.Random(0).randbytes  # does not compress
    records = [make_record(i, langs=LANGS, tokens=i, file=text(400).hex()) for i in range(120)]
    for record in records:
        ledger.append([record])
        assert sum(file.stat().st_size < 20_000 for file in tmp_path.iterdir()) <= 4
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert sum(size > 20_000 for size in sizes) > 1  # files of this size are not merged again
    assert list(ledger.history()) == records
    assert np.all(np.diff(ledger.history().column("committed_ns")) > 0)


@pytest.mark.usefixtures("_merges_often")
def test_files_of_an_earlier_process_are_merged_too(tmp_path):
    for number in range(20):
        Ledger(locate(str(tmp_path))).append([make_record(number)])
    assert len(list(tmp_path.iterdir())) <= 4
    assert len(Ledger(locate(str(tmp_path))).load()) == 20


@pytest.mark.parametrize("replaced", [False, True])
def test_copies_that_an_interrupted_rewrite_left_are_ignored(ledger, tmp_path, replaced, monkeypatch):
    """Also by later rewrites, which drop them."""
    for number in range(4):
        ledger.append([make_record(number), make_record(number + 10)])
    ledger.append([make_record(3, tokens=7)])
    before, files = list(ledger.history()), {path: path.read_bytes() for path in tmp_path.iterdir()}
    if replaced:
        ledger.replace([], ledger.history())
    else:
        monkeypatch.setattr(ledger_module, "_MAX_SMALL_FILES", 4)
        ledger.append([make_record(5)])
        before.append(make_record(5))
    assert len(list(tmp_path.iterdir())) == 1
    for path, data in list(files.items())[1:]:  # one file was deleted
        path.write_bytes(data)
    assert list(ledger.history()) == before
    assert len(ledger.load()) == len({record.shard for record in before})
    ledger.replace([], ledger.history())
    (file,) = tmp_path.iterdir()
    assert len(pq.read_table(file)) == len(before)


def test_files_that_are_merged_while_they_are_read_are_read_again(tmp_path, monkeypatch):
    """By another process. Records that were loaded before that cannot be read any more."""
    writer, reader = Ledger(locate(str(tmp_path))), Ledger(locate(str(tmp_path)))
    for number in range(4):
        writer.append([make_record(number)])
    loaded, read, merged = reader.load(), Location.read_buffer, list[str]()

    def merge_and_read(location: Location) -> pa.Buffer:
        if not merged:
            merged.append(location.url)
            writer.append([make_record(4)])
        return read(location)

    monkeypatch.setattr(ledger_module, "_MAX_SMALL_FILES", 4)
    monkeypatch.setattr(Location, "read_buffer", merge_and_read)
    assert list(reader.load()) == [make_record(number) for number in range(5)]
    assert len(merged) == len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ReplacedError, match="deleted by a run while it was read; run the same command again"):
        list(loaded)
    assert retry_if_replaced(lambda: len(list(reader.load()))) == 5
