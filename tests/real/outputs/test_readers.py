"""The directory of results, `OUT/data`, is opened by its plain path in every reader, during a run and after it."""

import datetime
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from jobs.job_file import load_job
from pipelines.errors import FatalError
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from tests import forks
from tests.chaos.driver.scenarios import run_job
from tests.flow.in_process import run_to_records

SHARD_ROWS = 4

READ_BY_RAY = """
import pickle, sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
datasets = [ray.data.read_parquet(path) for path in sys.argv[2:]]
pickle.dump([(data.count(), data.take_all()) for data in datasets], open(sys.argv[1], "wb"))
"""


def kept_columns(num_rows):
    """Columns of common types. The rows of the first shard do not pass the filter, and `note` is null in the last."""
    numbers = range(num_rows)
    day = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.UTC)
    point = pa.struct([("x", pa.float64()), ("name", pa.string())])
    return {
        "year": pa.array([2000 if i < SHARD_ROWS else 2024 for i in numbers], pa.int16()),
        "note": pa.array([f"note {i}" if i < num_rows - SHARD_ROWS else None for i in numbers]),
        "large": pa.array([f"{i}" for i in numbers], pa.large_string()),
        "kind": pa.array([f"kind {i % 2}" for i in numbers]).dictionary_encode(),
        "raw": pa.array([bytes([i]) for i in numbers], pa.binary()),
        "day": pa.array([day.date() for _ in numbers], pa.date32()),
        "at": pa.array([day + datetime.timedelta(seconds=i) for i in numbers], pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal(i) / 100 for i in numbers], pa.decimal128(9, 2)),
        "flag": pa.array([None if i % 3 == 0 else i % 3 == 1 for i in numbers]),
        "numbers": pa.array([list(range(i % 3)) for i in numbers], pa.list_(pa.int32())),
        "point": pa.array([{"x": i / 2, "name": f"p{i}"} for i in numbers], point),
    }


@pytest.fixture(scope="module")
def complete(demo, checkpoints, corpus, tmp_path_factory):
    """An output with every type of result, whose first shard has no rows."""
    import yaml

    from pipelines.job.job import Job

    folder = tmp_path_factory.mktemp("readers")
    rows = pa.Table.from_pylist([row for row in corpus if row["lang"] in ("de", "en", "ru")][: 4 * SHARD_ROWS])
    for name, column in kept_columns(len(rows)).items():
        rows = rows.append_column(name, column)
    pq.write_table(rows, folder / "in.parquet")
    heads = checkpoints / "heads"

    def run(out, tasks, keep):
        spec = yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8"))
        path = str(folder / "in.parquet")
        spec["input"] = {"path": path, "id": "id", "text": "text", "lang": "lang", "keep": keep}
        spec["input"]["filter"] = "year >= 2020"
        spec["model"] = {"checkpoint": str(checkpoints / "lm")}
        spec["tasks"] = tasks
        spec["output"] = {"path": str(folder / out), "rows_per_shard": SHARD_ROWS, "token_counts": True}
        job = Job.model_validate(spec)
        records, prepared = run_to_records(job), prepare_job(job)
        output = Output(prepared.output)
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        output.finish({}, "", success=True)
        return folder / out

    floats = run("floats", [{"feature-extraction": {"prefix": "i8_"}}], [])
    tasks = [
        "feature-extraction",
        {"feature-extraction": {"prefix": "i8_", "dtype": "int8", "calibration": str(floats)}},
        {"feature-extraction": {"prefix": "bits_", "dtype": "binary"}},
        {"feature-extraction": {"prefix": "w_", "windows": "each"}},
        {"text-classification": {"head": str(heads / "topic"), "top_k": 2, "scores": True}},
        {"text-classification": {"prefix": "multi_", "head": str(heads / "several"), "problem": "multi-label"}},
        {"text-classification": {"prefix": "reg_", "head": str(heads / "values"), "problem": "regression"}},
        {"token-classification": {"head": str(heads / "tags")}},
        {"token-classification": {"head": str(heads / "tags"), "aggregate": "entity", "prefix": "ner_"}},
        {"lm-scoring": {"prefix": "lm_"}},
    ]
    out = run("out", tasks, [name for name in rows.schema.names if name not in ("id", "text")])
    first, *others = sorted((out / "data").iterdir())
    assert pq.read_metadata(first).num_row_groups == 0
    assert [pq.read_metadata(part).num_rows for part in others] == [SHARD_ROWS] * 3
    return out


def rows_of(parts):
    tables = [pq.ParquetFile(part).read() for part in parts]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def to_python(value):
    """Convert a value of any reader to Python's own types; a missing value to None."""
    match value:
        case np.ndarray() | list() | tuple():
            return [to_python(item) for item in value]
        case dict():
            return {name: to_python(item) for name, item in value.items()}
        case pd.Timestamp():
            return value.to_pydatetime()
        case np.generic():
            return to_python(value.item())
        case float() if value != value:
            return None
        case _:
            return None if value is pd.NA else value


def read_with_ray(*paths):
    """Start Ray, which takes seconds, once for several reads, and in another process than the Ray of other tests."""
    target = Path(paths[0]).parent / "rows.pickle"
    subprocess.run([sys.executable, "-c", READ_BY_RAY, target, *paths], check=True, stderr=subprocess.DEVNULL)
    found = pickle.loads(target.read_bytes())
    assert [num_rows for num_rows, _ in found] == [len(rows) for _, rows in found]
    return [rows for _, rows in found]


@pytest.fixture(scope="module")
def spark():
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def read_with_spark(spark):
    def read(path):
        frame = spark.read.parquet(path)
        rows = frame.toArrow().to_pylist()
        assert frame.count() == len(rows)
        return rows

    return read


@pytest.fixture
def read_with_datasets(tmp_path):
    def read(path):
        cache = str(tmp_path / f"cache-{len(list(tmp_path.iterdir()))}")
        streamed = datasets.load_dataset("parquet", data_dir=path, split="train", streaming=True)
        loaded = datasets.load_dataset("parquet", data_dir=path, split="train", cache_dir=cache)
        assert len(list(streamed)) == len(loaded)
        return loaded.with_format("arrow")[:].to_pylist()

    return read


def read_with_duckdb(path):
    ((count,),) = duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
    table = duckdb.sql(f"SET timezone = 'UTC'; FROM read_parquet('{path}')").to_arrow_table()
    assert len(table) == count
    return table.to_pylist()


READERS = {
    "pandas": lambda path: pd.read_parquet(path).to_dict("records"),
    "pyarrow.dataset": lambda path: ds.dataset(path).to_table().to_pylist(),
    "pyarrow.parquet": lambda path: pq.read_table(path).to_pylist(),
    "polars.read_parquet": lambda path: pl.read_parquet(path).to_dicts(),
    "polars.scan_parquet": lambda path: pl.scan_parquet(path).collect().to_dicts(),
    "duckdb": read_with_duckdb,
    "datasets": "read_with_datasets",
    "ray": read_with_ray,
    "spark": "read_with_spark",
}


@contextmanager
def run_under_way(out: Path) -> Iterator[None]:
    """Hold the lock, and write the existing parts and a ledger file again and again, as a run does."""
    output, stop = Output(locate(str(out))), threading.Event()
    parts = {path.name: pa.py_buffer(path.read_bytes()) for path in (out / "data").iterdir()}

    def keep_writing() -> None:
        while not stop.is_set():
            for name, data in parts.items():
                output.put_part(name, data)
            output.ledger.replace([], output.ledger.history())

    writer = threading.Thread(target=keep_writing)
    with output.lock():
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()


@pytest.mark.long
@pytest.mark.parametrize("reader", READERS)
def test_results_are_opened_by_their_plain_path(complete, tmp_path, reader, request):
    read = READERS[reader]
    read = request.getfixturevalue(read) if isinstance(read, str) else read
    out = tmp_path / "out"
    shutil.copytree(complete, out)
    parts = sorted((out / "data").iterdir())
    (out / "_SUCCESS").unlink()
    parts.pop().unlink()
    (out / "_xlm" / "tmp" / ".part-x.parquet.0a1b2c3d.tmp").write_bytes(b"of a writer that was killed")
    paths = [str(out / "data"), str(complete / "data")]
    with run_under_way(out):
        found = read(*paths) if reader == "ray" else [read(path) for path in paths]
    for rows, expected in zip(found, (parts, sorted((complete / "data").iterdir())), strict=True):
        assert {row["id"]: to_python(row) for row in rows} == rows_of(expected)
        assert len(rows) == SHARD_ROWS * (len(expected) - 1)
        assert list(rows[0]) == pq.read_schema(expected[0]).names


@pytest.mark.long
def test_output_of_a_running_job_is_readable_at_any_moment(demo, tmp_path):
    path, counts = str(tmp_path / "out" / "data"), {"pyarrow": [0], "polars": [0], "duckdb": [0]}
    job = load_job(demo / "small.yaml", [f"output.path={tmp_path / 'out'}", "output.rows_per_shard=4"])
    process, receiving = forks.start(run_job, job)
    running = True
    while running:
        running = not receiving.poll()  # so that all readers also read the finished output
        if not list(Path(path).glob("*")):
            continue
        counts["pyarrow"].append(ds.dataset(path).count_rows())
        counts["polars"].append(pl.scan_parquet(path).select(pl.len()).collect().item())
        counts["duckdb"].append(duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()[0][0])
    report = receiving.recv().report
    forks.join(process)
    for found in counts.values():
        assert found == sorted(found)
        assert found[-1] == report["totals"]["rows_out"]
        assert len(set(found)) > 2, "no reader read a part of the output"


def test_commands_name_the_directory_that_they_need(complete, capsys):
    for command in ("status", "show", "verify", "gc"):
        assert main([command, str(complete / "data")]) == 2
        assert f"{complete}/data: contains the results of a job; name its output.path, {complete}" in " ".join(
            capsys.readouterr().err.split()
        )


def test_file_or_another_directory_named_data_is_not_an_output(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "job.yaml").write_text("name: a job")
    pq.write_table(pa.table({"text": ["A text."]}), tmp_path / "data" / "a.parquet")
    for command in ("status", "show", "verify", "gc"):
        for name in ("data", "job.yaml"):
            assert main([command, str(tmp_path / name)]) == 2
            message = f"xlm: {tmp_path / name}: not the output of a job (it has no _xlm/job.json); name the output.path"
            assert message in capsys.readouterr().err


def test_output_with_parts_in_its_own_directory_is_refused(complete, tmp_path):
    """Earlier versions wrote parts to the directory that contains `_xlm`."""
    out = tmp_path / "out"
    shutil.copytree(complete, out)
    for part in (out / "data").iterdir():
        part.rename(out / part.name)
    output = Output(locate(str(out)))
    for read in (output.read_job, output.read_existing_job):
        with pytest.raises(FatalError, match=r"out: written by an earlier version, which did not write parts to data;"):
            read()
