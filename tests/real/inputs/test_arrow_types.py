"""Types as Polars, DuckDB, Spark and pandas write them: one type in many layouts, UUIDs, nested extensions."""

import json
import uuid
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipelines.corpus.cut_shards import ShardLimits
from pipelines.output.parts import part_bytes
from tests.fixtures.arrow_types import COLUMNS
from tests.flow.in_process import read_output, run_stages, run_to_records
from tests.pipelines.verify.output_copy import OutputCopy, format_problems, write_output
from tests.plans import make_plan

TEXTS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}
EMBED = ["feature-extraction"]


def write(path: Path, *, rows: int = 4, store_schema: bool = True, row_group_size: int = 1000, **columns: Any) -> None:
    defaults = {"id": [f"{path.stem}{i}" for i in range(rows)], "text": ["One sentence."] * rows, "lang": ["en"] * rows}
    table = pa.table(defaults | columns)
    pq.write_table(table, path, store_schema=store_schema, row_group_size=row_group_size)


def input_of(path: Path, **settings: Any) -> dict[str, Any]:
    return {"path": str(path), "id": "id", "text": "text", "lang": "lang", **settings}


def ids(job: Any) -> list[str]:
    return sorted(read_output(job.output.path)["id"].to_pylist())


def assert_verified(job: Any) -> None:
    verdict = OutputCopy(Path(job.output.path)).verify()
    assert (format_problems(verdict), verdict.verified) == ("", True)


@pytest.mark.parametrize("first", list(TEXTS))
@pytest.mark.parametrize("store_schema", [True, False])
def test_texts_of_all_layouts_are_one_type(make_job, tmp_path, first, store_schema):
    """As ids, kept columns and in the filter. The first file's type is written, without views."""
    for number, name in enumerate([first, *TEXTS]):
        kind, path = TEXTS[name], tmp_path / f"{number}.parquet"
        columns = {
            "id": [f"{number}{c}" for c in "abcd"],
            "lang": ["en", "de", "en", "fr"],
            "kept": ["x", None, "y", "x"],
        }
        columns = {key: pa.array(values, pa.string()).cast(kind) for key, values in columns.items()}
        write(path, store_schema=store_schema or number > 0, **columns)
    settings = {"keep": ["kept"], "filter": 'lang in ["en", "de"] and kept is not None'}
    job = make_job(input=input_of(tmp_path / "*.parquet", **settings), tasks=EMBED)
    write_output(job)
    assert ids(job) == sorted(f"{number}{c}" for number in range(5) for c in "ac")
    rows = read_output(job.output.path)
    assert sorted(rows["kept"].to_pylist()) == ["x"] * 5 + ["y"] * 5
    expected = TEXTS[first] if store_schema else pa.string()
    assert rows.schema.field("kept").type == (pa.large_string() if first == "view" and store_schema else expected)
    assert_verified(job)


def test_enumerations_are_text(make_job, tmp_path):
    """Columns of Parquet's type ENUM, which Arrow reads as bytes: id, text, lang, kept and filtered."""
    columns = {
        "id": ["a", "b", "c"],
        "lang": ["en", "de", "en"],
        "kept.as": ["x", None, "y"],
        "kept": [b"1", b"2", b"3"],
    }
    write(path := tmp_path / "in.parquet", rows=3, store_schema=False, row_group_size=1, **columns)
    data = path.read_bytes()
    for name in (b"id", b"text", b"lang", b"kept.as"):
        assert data.count(name + b"\x25\x00\x4c\x1c") == 1  # converted type UTF8, logical type STRING
        data = data.replace(name + b"\x25\x00\x4c\x1c", name + b"\x25\x08\x4c\x4c")
    path.write_bytes(data)
    assert set(pq.read_schema(path).types) == {pa.binary()}
    settings = {"keep": ["kept.as", "kept"], "filter": 'lang == "en" and col("kept.as") != "x"'}
    job = make_job(input=input_of(path, **settings), tasks=EMBED)
    write_output(job)
    rows = read_output(job.output.path)
    assert rows.select(["id", "kept.as", "kept"]).to_pylist() == [{"id": "c", "kept.as": "y", "kept": b"3"}]
    assert rows.schema.field("kept.as").type == pa.string()
    assert_verified(job)


def test_uuids_are_ids(make_job, tmp_path, capsys):
    """DuckDB writes the logical types UUID and JSON without Arrow's schema."""
    path = tmp_path / "in.parquet"
    same = uuid.UUID(int=7)
    values = f"unnest([uuid(), '{same}'::uuid, '{same}'::uuid]) id, 'One sentence.' as text, 'en' lang"
    duckdb.sql(f"copy (select {values}, '{{}}'::json data, uuid() other) to '{path}'")
    job = make_job(input=input_of(path, keep=["data", "other"]), tasks=EMBED, policy__duplicate_ids="reject")
    write_output(job)
    rows = read_output(job.output.path)
    assert [rows.schema.field(name).type for name in ("id", "data", "other")] == [pa.uuid(), pa.json_(), pa.uuid()]
    assert rows["id"].to_pylist() == pq.read_table(path)["id"].to_pylist()[:2]
    assert_verified(job)
    assert main(["show", job.output.path]) == 0
    assert str(same) in capsys.readouterr().out
    assert main(["diff", job.output.path, job.output.path]) == 0


@pytest.mark.parametrize("name", [n for n in COLUMNS if n.startswith(("list_of", "struct_of", "map", "tensor"))])
def test_filter_ignores_nested_types_of_other_columns(make_job, tmp_path, name):
    write(tmp_path / "in.parquet", rows=3, nested=COLUMNS[name], year=[2020, 2021, 2022])
    job = make_job(input=input_of(tmp_path / "in.parquet", filter="year > 2020", keep=["nested"]), tasks=EMBED)
    write_output(job)
    assert ids(job) == ["in1", "in2"]
    assert_verified(job)


def test_damaged_file_with_nested_extension_types_fails_its_shard_only(make_job, tmp_path):
    write(tmp_path / "in.parquet", rows=3, nested=COLUMNS["list_of_uuid"])
    data = bytearray((tmp_path / "in.parquet").read_bytes())
    data[4:40] = bytes(36)
    (tmp_path / "in.parquet").write_bytes(data)
    (result,) = run_stages(make_job(input=input_of(tmp_path / "in.parquet", keep=["nested"]), tasks=EMBED))
    assert "row group 0 cannot be read" in result.failure.message


@pytest.mark.parametrize(
    ("kind", "values", "condition", "expected"),
    [
        (pa.float16(), [0.1, 0.5, float("nan"), None], "x == 0.1", [0]),
        (pa.float16(), [0.1, 0.5, float("nan"), None], "x >= 0.5", [1]),
        (pa.decimal32(5, 2), ["1.10", "2.20", "3.30", None], "x == 2.2", [1]),
        (pa.decimal64(12, 2), ["1.10", "2.20", "3.30", None], "x in [1.1, 3.3]", [0, 2]),
        (pa.string_view(), ["a", "b", "c", None], 'x >= "b"', [1, 2]),
    ],
)
def test_filter_compares_values_in_any_type(make_job, tmp_path, kind, values, condition, expected):
    column = (
        pa.array(values, pa.string()).cast(kind)
        if isinstance(values[0], str)
        else pa.array([None if value is None else np.float16(value) for value in values], kind)
    )
    write(tmp_path / "in.parquet", x=column)
    job = make_job(input=input_of(tmp_path / "in.parquet", filter=condition), tasks=EMBED)
    write_output(job)
    assert ids(job) == [f"in{i}" for i in expected]
    assert_verified(job)


@pytest.mark.parametrize(
    ("condition", "num_row_groups"),
    [
        ("n >= 6", 2),
        ("n in [0, 9]", 2),
        ('s == "k3"', 1),
        ('s == "k3" and x > 100', 1),
        ("x != 5.0", 5),  # minimum and maximum leave out NaN
        ("not (n < 9)", 1),
        ("m is not None", 1),
        ("n > 3 or x > 0.0", 5),
    ],
)
def test_row_groups_are_skipped_by_their_statistics(make_job, tmp_path, capsys, condition, num_row_groups):
    columns = {
        "n": range(10),
        "s": pa.array([f"k{i}" for i in range(10)]).dictionary_encode(),
        "x": [5.0, float("nan")] * 5,
        "m": [None] * 8 + [1, 2],
    }
    write(tmp_path / "in.parquet", rows=10, row_group_size=2, **columns)
    (tmp_path / "all").mkdir()
    write(tmp_path / "all" / "in.parquet", rows=10, **columns)
    job = make_job(input=input_of(tmp_path / "in.parquet", filter=condition), tasks=EMBED)
    plan = make_plan(job.input, ShardLimits(job.output.rows_per_shard), job.storage)
    assert len(plan.corpus.row_groups) == num_row_groups
    assert (plan.num_rows + plan.pruned.num_rows, plan.pruned.num_row_groups) == (10, 5 - num_row_groups)
    write_output(job)
    assert_verified(job)
    other = make_job(
        input=input_of(tmp_path / "all" / "in.parquet", filter=condition), tasks=EMBED, output__path=str(tmp_path / "o")
    )
    run_to_records(other)
    assert ids(job) == ids(other)


def test_filter_that_drops_every_row_group_writes_an_empty_part(make_job, tmp_path):
    write(tmp_path / "in.parquet", row_group_size=2, n=[1, 2, 3, 4])
    job = make_job(input=input_of(tmp_path / "in.parquet", filter="n > 100"), tasks=EMBED, output__rows_per_shard=1)
    write_output(job)
    assert len(read_output(job.output.path)) == 0
    assert_verified(job)


def test_row_group_that_was_left_out_by_wrong_statistics_is_found(make_job, tmp_path):
    """As if the plan had left it out: verification reads the columns of the filter."""
    write(tmp_path / "in.parquet", row_group_size=2, n=[1, 2, 3, 4])
    job = make_job(input=input_of(tmp_path / "in.parquet", filter="n > 0"), tasks=EMBED, output__rows_per_shard=2)
    write_output(job)
    output = OutputCopy(Path(job.output.path))
    output.edit_plan(lambda rows: rows[:1])
    assert "leaves out row group 1" in output.problems()


def test_kept_map_is_verified(make_job, tmp_path):
    """Parquet names the fields of a map key and value, so its printed form differs after a round trip."""
    write(
        tmp_path / "in.parquet",
        rows=1,
        attrs=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
        store_schema=False,
    )
    job = make_job(input=input_of(tmp_path / "in.parquet", keep=["attrs"]), tasks=EMBED)
    write_output(job)
    assert_verified(job)
    description = json.loads((Path(job.output.path) / "_xlm" / "job.json").read_text(encoding="utf-8"))
    assert "schema" in description
    assert part_bytes(read_output(job.output.path)).size
