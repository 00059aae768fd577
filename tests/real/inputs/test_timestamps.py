"""Timestamps as Spark, Impala and DuckDB write them: INT96, years that Python and nanoseconds cannot represent."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from tests.flow.in_process import read_output, run_to_records
from tests.pipelines.verify.output_copy import OutputCopy, format_problems, write_output

YEARS = [1, 1677, 2020, 2263, 9999]
TIMES = [*(datetime.datetime(year, 12, 31) for year in YEARS), None]


def write_times(path: Path, *, int96: bool, names: str = "abcdef") -> None:
    """Write one row per time. INT96 is what Spark, Hive and Impala write by default, or did for years."""
    columns = {
        "id": list(names),
        "text": ["One sentence."] * 6,
        "lang": ["en"] * 6,
        "seen": pa.array(TIMES, pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=int96, store_schema=False)


def make_input(path: Path, **settings):
    return {"path": str(path), "id": "id", "text": "text", "lang": "lang", "keep": ["seen"], **settings}


@pytest.mark.parametrize("int96", [True, False])
def test_times_of_all_years_are_kept_and_verified(make_job, tmp_path, int96):
    write_times(tmp_path / "in.parquet", int96=int96)
    job = make_job(input=make_input(tmp_path / "in.parquet"), tasks=["feature-extraction"])
    write_output(job)
    rows = read_output(job.output.path)
    assert rows["seen"].to_pylist() == TIMES
    assert rows.schema.field("seen").type == pa.timestamp("us")
    verdict = OutputCopy(Path(job.output.path)).verify()
    assert (format_problems(verdict), verdict.verified) == ("", True)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ('seen > timestamp("2100-01-01")', "de"),
        ('seen < timestamp("1700-01-01")', "ab"),
        ('seen == timestamp("9999-12-31")', "e"),
        ("seen is None", "f"),
    ],
)
def test_filter_compares_times_of_all_years(make_job, tmp_path, condition, ids):
    write_times(tmp_path / "in.parquet", int96=True)
    job = make_job(input=make_input(tmp_path / "in.parquet", filter=condition), tasks=["feature-extraction"])
    write_output(job)
    assert read_output(job.output.path)["id"].to_pylist() == list(ids)
    assert OutputCopy(Path(job.output.path)).verify().verified


def test_files_with_int96_and_with_int64_are_one_corpus(make_job, tmp_path):
    write_times(tmp_path / "1.parquet", int96=True)
    write_times(tmp_path / "2.parquet", int96=False, names="ghijkl")
    job = make_job(input=make_input(tmp_path / "?.parquet"), tasks=["feature-extraction"])
    run_to_records(job)
    assert sorted(map(str, read_output(job.output.path)["seen"].to_pylist())) == sorted(map(str, TIMES * 2))


def test_int96_within_lists_and_structs_is_read_in_microseconds_too(make_job, tmp_path):
    last = pa.array([TIMES[4]], pa.timestamp("us"))
    nested = pa.array(
        [{"at": TIMES[4], "all": [TIMES[4]]}], pa.struct([("at", last.type), ("all", pa.list_(last.type))])
    )
    table = pa.table({"id": ["a"], "text": ["One sentence."], "lang": ["en"], "seen": nested})
    pq.write_table(table, tmp_path / "in.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    job = make_job(input=make_input(tmp_path / "in.parquet"), tasks=["feature-extraction"])
    run_to_records(job)
    assert read_output(job.output.path)["seen"].to_pylist() == nested.to_pylist()


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Mars/Base"])
def test_times_beyond_python_are_shown(make_job, tmp_path, capsys, zone):
    """DuckDB and Postgres write infinity as the last microsecond, year 294247."""
    limits = [2**63 - 1, -62_167_219_200_000_000, 253_402_300_800_000_000]
    times = pa.array(limits, pa.int64()).view(pa.timestamp("us", zone))
    columns = {"id": ["a", "b", "c"], "text": ["One sentence."] * 3, "lang": ["en"] * 3, "seen": times}
    days = pa.array([2**31 - 1, -719_528, 2_932_897], pa.int32()).view(pa.date32())
    pq.write_table(pa.table(columns | {"day": days}), tmp_path / "in.parquet")
    job = make_job(input=make_input(tmp_path / "in.parquet", keep=["seen", "day"]), tasks=["feature-extraction"])
    write_output(job)
    assert main(["show", job.output.path]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    end = "" if zone is None else "+00:00"
    for seen, day in (
        ("294247-01-10 04:00:54.775807", "5881580-07-11"),
        ("0000-01-01 00:00:00.000000", "0000-01-01"),
        ("10000-01-01 00:00:00.000000", "10000-01-01"),
    ):
        assert f"seen {seen}{end} day {day}" in shown
