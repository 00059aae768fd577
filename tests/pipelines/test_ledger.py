"""The ledger keeps what was committed, and nothing that stands in it becomes a path or a sum that it should not."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.plan import shard_id
from pipelines.errors import FatalError
from pipelines.output.ledger import RECORD, SHARD_ID, Ledger, part_name
from pipelines.storage import FileInfo, locate

Record = dict[str, Any]


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(locate(str(tmp_path)))


def record(number: int, **changes: Any) -> Record:
    shard = shard_id(FileInfo("/in.parquet", 9, 9), 0, number)
    counts = {field.name: 1 for field in RECORD if field.type == pa.int64()}
    return {"shard": shard, "part": part_name(shard), "reasons": {"empty_text": 2}, "langs": [], **counts} | changes


def test_what_is_appended_is_loaded_and_the_later_record_holds(ledger):
    ledger.append([record(1), record(2)])
    ledger.append([])
    ledger.append([record(2, tokens=5)])
    assert [r["tokens"] for r in ledger.history()] == [1, 1, 5]
    loaded = ledger.load()
    assert {shard: r["tokens"] for shard, r in loaded.items()} == {record(1)["shard"]: 1, record(2)["shard"]: 5}
    assert loaded[record(1)["shard"]]["reasons"] == {"empty_text": 2}
    ledger.replace([record(3)])
    assert [r["shard"] for r in ledger.history()] == [record(3)["shard"]]


def test_a_shard_without_rejected_rows_has_no_file_of_them(ledger):
    ledger.append([record(1, rejected_bytes=None, rejected_digest=None)])
    (loaded,) = ledger.history()
    assert (loaded["rejected_bytes"], loaded["rejected_digest"]) == (None, None)


@given(st.text(), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**30), st.integers(0, 2**50))
def test_every_shard_has_an_id_that_the_ledger_takes(url, size, mtime_ns, row_group, first_row):
    name = shard_id(FileInfo(url.encode(errors="replace").decode(), size, mtime_ns), row_group, first_row)
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
        {"part": part_name(record(1)["shard"])},
        {"part": None},
        {"rows_out": None},
        {"bytes": -1},
    ],
)
def test_a_record_that_no_run_wrote_is_refused(ledger, tmp_path, changes):
    ledger.append([record(1), record(2, **changes)])
    (file,) = tmp_path.iterdir()
    with pytest.raises(FatalError, match=rf"{file.name}: a damaged file of the ledger; delete it"):
        ledger.load()


@pytest.mark.parametrize("length", [0, 4, 99, -1, -30])
def test_a_file_that_is_cut_off_is_refused(ledger, tmp_path, length):
    ledger.append([record(1)])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(FatalError, match="a damaged file of the ledger"):
        ledger.load()


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"shard": [record(1)["shard"]]}),
        pa.table({name: ["x"] for name in RECORD.names}),
        pa.table({"shard": pa.nulls(1)}),
    ],
)
def test_a_file_of_another_kind_is_refused(ledger, tmp_path, table):
    pq.write_table(table, tmp_path / "1.parquet")
    with pytest.raises(FatalError, match="a damaged file of the ledger"):
        ledger.load()


def test_what_a_killed_writer_left_is_passed_over(ledger, tmp_path):
    ledger.append([record(1)])
    Path(tmp_path / ".2.parquet.ab12.tmp").write_bytes(b"PAR1")
    Path(tmp_path / "notes.txt").write_bytes(b"")
    assert len(ledger.load()) == 1
