"""`xlm gc` removes the files that stopped runs left in an output, and no others."""

import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from jobs.commands.output.gc import remove_orphans
from pipelines.errors import FatalError
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.orphans import find_orphans
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from tests.flow.in_process import run_to_records


@pytest.fixture(scope="module")
def made(demo, corpus, tmp_path_factory):
    """An output of the real stages: five shards, and a rejected row in the first."""
    folder = tmp_path_factory.mktemp("gc")
    rows = [{"id": "empty", "lang": "de", "text": " "}, *corpus[:19]]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
    spec = yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8")) | {"tasks": ["feature-extraction"]}
    spec["input"] = {"path": str(folder / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    spec["output"] = {"path": str(folder / "out"), "rows_per_shard": 4}
    job = Job.model_validate(spec)
    records = run_to_records(job)
    assert len(records) == 5
    prepared = prepare_job(job)
    output = Output(prepared.output)
    with output.lock():
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        output.finish({}, "", success=True)
    return folder / "out"


@pytest.fixture
def out(made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def gc(path, *, dry_run=False):
    buffer = io.StringIO()
    remove_orphans(str(path), Console(file=buffer, soft_wrap=True), dry_run=dry_run)
    return buffer.getvalue()


def files(out):
    """Read the contents of all files but the lock, by path."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def uncommit(out, *, number=1):
    """Remove the records of the last shards, as if the run had been killed before it appended them."""
    output = Output(locate(str(out)))
    records = sorted(output.ledger.load(), key=lambda record: record.shard)
    output.ledger.replace(records[:-number])
    output.mark_incomplete()
    return [f"data/{record.part}" for record in records[-number:]]


def test_complete_output_has_no_orphans(out):
    before = files(out)
    assert gc(out) == "nothing to remove: the ledger accounts for every file\n"
    assert gc(out, dry_run=True) == gc(out)
    assert files(out) == before


def test_files_of_killed_runs_are_removed_and_no_others(out):
    lost = uncommit(out, number=2)
    kept = {name: data for name, data in files(out).items() if name not in lost}
    first, second = sorted(record.part for record in Output(locate(str(out))).ledger.load())[:2]
    other = "part-0123456789abcdef-00000-000000000.parquet"
    orphans = {
        *lost,
        f"data/{other}",
        f"_xlm/rejected/{other}",
        f"_xlm/rejected/{second}",  # its record has no rejected rows
        f"_xlm/tmp/.{first}.0a1b2c3d.tmp",
        f"_xlm/tmp/.{other}.0a1b2c3d.tmp",
        f"data/.{first}.0a1b2c3d.tmp",
        "_xlm/.job.json.0a1b2c3d.tmp",
        "_xlm/.report.html.0a1b2c3d.tmp",
        f"_xlm/rejected/.{first}.0a1b2c3d.tmp",
        "_xlm/ledger/.00000000000000000001-0a1b2c3d.parquet.0a1b2c3d.tmp",
    }
    foreign = {
        "thesis.docx",
        "data/part-1.parquet",
        f"data/old/{other}",
        f"old/{other}",
        f"_xlm/{other}",
        f"_xlm/tmp/{other}",
        "_xlm/tmp/.thesis.docx.0a1b2c3d.tmp",
        f"_xlm/rejected/deep/{other}",
        f"data/{other}.bak",
        ".thesis.docx.0a1b2c3d.tmp",
        f"data/.{first}.tmp",
        "_xlm/notes.txt",
        "_xlm/ledger/copy.txt",
        ".hidden",
    }
    for name in (orphans | foreign) - set(lost):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"12345")
    before = files(out)
    listed = gc(out, dry_run=True)
    assert files(out) == before
    assert {line.split("  ")[-1] for line in listed.splitlines() if line.startswith(" ")} == orphans | foreign
    size = sum(len(before[name]) for name in orphans)
    assert f"would remove {len(orphans)} files, {size / 1000:.1f} kB" in listed
    text = gc(out)
    assert f"removed {len(orphans)} files, {size / 1000:.1f} kB" in text
    assert "the output is incomplete; a resumed run would adopt or replace them" in text
    after = files(out)
    assert after == kept | dict.fromkeys(foreign, b"12345")
    assert gc(out).endswith("nothing to remove\n")  # after the list of files that no job wrote


def test_each_file_is_listed_with_its_size_and_kind(out):
    (lost,) = uncommit(out)
    (out / "thesis.docx").write_bytes(b"x" * 1500)
    rejected = f"_xlm/rejected/{Path(lost).name}"
    (out / rejected).write_bytes(b"")
    assert gc(out, dry_run=True).splitlines() == [
        "rejected rows of shards that were never committed:",
        f"     0 bytes  {rejected}",
        "results of shards that were never committed:",
        f"{(out / lost).stat().st_size / 1000:9.1f} kB  {lost}",
        "files that were not written by a job; not removed:",
        "      1.5 kB  thesis.docx",
        f"would remove 2 files, {(out / lost).stat().st_size / 1000:.1f} kB",
        "the output is incomplete; a resumed run would adopt or replace them; the list includes results that a current "
        "run has not committed yet",
    ]
    orphans = find_orphans(Output(locate(str(out))))
    assert [orphan.path for orphan in orphans if orphan.is_removable] == [rejected, lost]


def test_nothing_is_removed_while_a_run_writes_to_the_output(out):
    (lost,) = uncommit(out)
    with Output(locate(str(out))).lock():
        with pytest.raises(FatalError, match="another run is writing here"):
            gc(out)
        assert (out / lost).exists()
        assert "the list includes results that a current run has not committed yet" in gc(out, dry_run=True)


def test_nothing_is_removed_from_a_complete_output_without_a_ledger(out):
    shutil.rmtree(out / "_xlm" / "ledger")
    before = files(out)
    for dry_run in (True, False):
        with pytest.raises(FatalError, match=r"complete, but its ledger is missing, .* restore _xlm/ledger"):
            gc(out, dry_run=dry_run)
    assert files(out) == before


def test_nothing_is_removed_if_the_ledger_is_damaged(out):
    uncommit(out)
    (entry,) = (out / "_xlm" / "ledger").glob("*.parquet")
    entry.write_bytes(b"PAR1 no")
    before = files(out)
    with pytest.raises(FatalError, match="damaged"):
        gc(out)
    assert files(out) == before


def test_directory_that_is_no_output_is_refused_and_unchanged(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "part-0123456789abcdef-00000-000000000.parquet").write_bytes(b"")
    for name, message in (
        ("docs", r"not the output of a job \(it has no _xlm/job.json\)"),
        ("nowhere", "no such directory"),
    ):
        with pytest.raises(FatalError, match=f"{name}: {message}; name the output.path of a job"):
            gc(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["docs", "part-0123456789abcdef-00000-000000000.parquet"]
