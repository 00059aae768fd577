"""Statistics that Arrow cannot read, because it would end the process, are left alone; all row groups are read."""

import struct

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.parquet.input_file import read_footer
from pipelines.errors import FatalError
from pipelines.job import InputSettings
from tests.plans import make_plan

ROWS = pa.table({"text": [f"Row {i}." for i in range(40)], "n": pa.array(range(40), pa.int32())})
FIRST_MINIMUM = b"\x04\x00\x00\x00\x00"  # of n, with its size


def change_footer(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes in the footer, whose size may change."""
    (size,) = struct.unpack("<I", data[-8:-4])
    body, footer = data[: -8 - size], data[-8 - size : -8]
    assert old in footer
    footer = footer.replace(old, new)
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


DAMAGES = {
    "shorter than a value": (FIRST_MINIMUM, b"\x03\x00\x00\x00"),
    "empty": (FIRST_MINIMUM, b"\x00"),
    "longer than a value": (FIRST_MINIMUM, b"\x05\x00\x00\x00\x00\x00"),
    "of a type other than the schema's": (b"\x15\x02\x19", b"\x15\x0a\x19"),  # DOUBLE instead of INT32
    "with levels other than the schema's": (b"\x15\x02\x25\x02\x18\x01n", b"\x15\x02\x25\x00\x18\x01n"),  # required
}


@pytest.fixture(params=DAMAGES)
def damaged(request) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(ROWS, sink, row_group_size=10)
    return change_footer(sink.getvalue().to_pybytes(), *DAMAGES[request.param])


def test_row_groups_with_damaged_statistics_are_not_skipped(damaged, tmp_path):
    (tmp_path / "in.parquet").write_bytes(damaged)
    spec = {"path": str(tmp_path), "text": "text", "lang": {"fixed": "en"}}
    plan = make_plan(InputSettings.model_validate(spec | {"filter": "n >= 30"}), ShardLimits(100), ())
    assert plan.num_rows == 40
    plan = make_plan(
        InputSettings.model_validate(spec | {"filter": 'n >= 30 and text == "Row 5."'}), ShardLimits(100), ()
    )
    assert plan.num_rows == 10  # statistics of other columns are used


def test_damaged_statistics_do_not_show_the_value_of_a_partition(damaged, tmp_path):
    (tmp_path / "n=7").mkdir()
    (tmp_path / "n=7" / "in.parquet").write_bytes(damaged)
    spec = {"path": str(tmp_path), "text": "text", "lang": {"fixed": "en"}, "keep": ["n"]}
    with pytest.raises(FatalError, match=r"in\.parquet: column n is in the file and also a directory of its path"):
        make_plan(InputSettings.model_validate(spec), ShardLimits(100), ())


@pytest.mark.parametrize("writer", ["pyarrow", "format 1.0", "data pages 2.0", "duckdb", "polars"])
def test_statistics_of_usual_writers_are_used(writer, tmp_path):
    path = tmp_path / "in.parquet"
    names = ["n", "text", "small", "flag", "price", "day", "a.b", "n" * 200]
    prices = pa.array(range(40), pa.int64()).cast(pa.decimal128(25, 2))
    flags, days = pa.array([i > 20 for i in range(40)]), pa.array(range(40), pa.int32()).cast(pa.date32())
    numbers = pa.array(range(40), pa.int64())
    small = pa.array(range(40), pa.int8())
    rows = pa.table([ROWS["n"], ROWS["text"], small, flags, prices, days, numbers, numbers], names)
    match writer:
        case "duckdb":
            duckdb.sql(f"COPY rows TO '{path}' (ROW_GROUP_SIZE 2048)")
        case "polars":
            pl.from_arrow(rows).write_parquet(path, row_group_size=10)
        case "pyarrow":
            pq.write_table(rows, path, row_group_size=10)
        case "format 1.0":
            pq.write_table(rows, path, row_group_size=10, version="1.0")
        case _:
            pq.write_table(rows, path, row_group_size=10, data_page_version="2.0", compression="zstd")
    with pa.OSFile(str(path)) as source:
        assert read_footer(source, names).sound == set(names[:-1])  # very long names are not looked for
