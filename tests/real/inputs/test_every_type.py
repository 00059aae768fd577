"""An output that keeps a column of every Arrow type is run, resumed, verified, shown, compared and cleaned up."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.cli import main
from pipelines.job.job import Job
from pipelines.run import run
from tests.fixtures.arrow_types import COLUMNS
from tests.flow.in_process import read_output, without_ray
from tests.pipelines.verify.output_copy import OutputCopy, format_problems

IDS = ["a", "b", "c"]


@pytest.fixture
def job(make_job: Callable[..., Job], tmp_path: Path) -> Job:
    """A job over two files, which keeps all columns and reads one of them as id."""
    (tmp_path / "in").mkdir()
    for name in ("1", "2"):
        columns = {"id": [name + row for row in IDS], "text": ["One sentence."] * 3, "lang": ["en"] * 3, **COLUMNS}
        pq.write_table(pa.table(columns), tmp_path / "in" / f"{name}.parquet")
    spec = {"path": str(tmp_path / "in"), "id": "id", "text": "text", "lang": "lang", "keep": list(COLUMNS)}
    return make_job(input=spec, tasks=["feature-extraction"], output__rows_per_shard=2)


@pytest.fixture
def output(job: Job, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of that job."""
    without_ray(monkeypatch)
    compute(job)
    return Path(job.output.path)


def compute(job: Job) -> None:
    report = run(job, Console(file=io.StringIO()))
    assert (report["status"], report["failed"]) == ("complete", [])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("part-*.parquet")}


def test_values_and_types_are_those_of_the_input(job, output, tmp_path):
    """Parquet has no views, so these are written in their plain layout."""
    found = read_output(str(output)).sort_by("id")
    expected = pa.concat_tables(pq.ParquetFile(tmp_path / "in" / f"{n}.parquet").read() for n in "12")
    plain = {
        "string_view": pa.large_string(),
        "binary_view": pa.large_binary(),
        "list_view": pa.large_list(pa.int32()),
        "large_list_view": pa.large_list(pa.int32()),
        "list_of_views": pa.list_(pa.large_string()),
        "struct_of_views": pa.struct([("a", pa.large_string()), ("b", pa.large_binary())]),
    }
    for name in COLUMNS:
        kind = plain.get(name, expected.schema.field(name).type)
        assert found.schema.field(name).type.equals(kind), name
        assert repr(found[name].to_pylist()) == repr(expected[name].to_pylist()), name


def test_output_is_verified(output):
    verdict = OutputCopy(output).verify()
    assert (format_problems(verdict), verdict.notes, verdict.verified) == ("", [], True)


def test_part_that_was_written_again_is_verified(output):
    """Its bytes are compared with what the write stage produces for its rows."""
    copy = OutputCopy(output)
    copy.change_record(copy.records[0].part, digest="0" * 64)
    verdict = copy.verify()
    assert (format_problems(verdict), verdict.verified) == ("", True)
    assert verdict.notes[0].startswith("1 part written again")


def test_resumed_run_writes_the_same_bytes(job, output):
    before = contents(output)
    next(output.rglob("part-*.parquet")).unlink()
    compute(job)
    assert contents(output) == before


def test_other_writers_files_can_be_added(job, output, tmp_path):
    """The types of the columns stay those of the existing output, also if the added file comes first."""
    names = set(COLUMNS)
    same = [name for name in COLUMNS if not name.startswith("duration")]
    without_schema = tmp_path / "without.parquet"
    columns = {"id": [f"0{row}" for row in IDS], "text": ["One sentence."] * 3, "lang": ["en"] * 3}
    pq.write_table(pa.table({**columns, **{name: COLUMNS[name] for name in same}}), without_schema, store_schema=False)
    added = pq.read_table(without_schema)
    for name in sorted(names - set(same)):  # without Arrow's schema they are numbers
        added = added.append_column(name, COLUMNS[name])
    pq.write_table(added, tmp_path / "in" / "0.parquet")
    compute(job)
    rows = read_output(str(output))
    for name, column in COLUMNS.items():
        values = [repr(value) for value in pa.chunked_array([column]).to_pylist()]
        assert sorted(map(repr, rows[name].to_pylist())) == sorted(values * 3), name
    assert OutputCopy(output).verify().verified


def test_output_is_shown(output, capsys):
    assert main(["show", str(output)]) == 0
    shown = capsys.readouterr().out
    for name in COLUMNS:
        assert f"\n  {name} " in shown, name
    for value in ("2024-02-29", "00000000-0000-0000-0000-000000000001", "-12345.67", '{"a": 1}'):
        assert value in shown


def test_output_is_compared_with_another(output, tmp_path, capsys):
    shutil.copytree(output, tmp_path / "b")
    assert main(["diff", str(output), str(tmp_path / "b")]) == 0
    assert "6" in capsys.readouterr().out


def test_file_without_a_record_is_removed(output, capsys):
    part = next(path for path in output.rglob("part-*.parquet") if "rejected" not in str(path))
    (part.parent / part.name.replace("00000", "00009", 1)).write_bytes(part.read_bytes())
    assert main(["gc", str(output)]) == 0
    assert "00009" in capsys.readouterr().out
    assert OutputCopy(output).verify().verified
