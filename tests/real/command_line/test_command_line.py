"""What people type: `xlm` alone, `--version`, flags in any order, and misspelt values of flags."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.demo import write_demo
from tests import forks
from tests.flow.in_process import without_ray
from tests.small_job import NAME as SMALL_JOB


def test_xlm_alone_prints_help(xlm):
    ended = xlm()
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("Usage: xlm ")
    assert "Run a job, or resume it." in ended.out


def test_version_is_printed_without_importing_ray_or_torch():
    program = "import sys; from jobs.cli import main; main(['--version']); assert not {'ray', 'torch'} & {*sys.modules}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == f"xlm-batch {importlib.metadata.version('xlm-batch')}\n"


def test_flag_to_retry_rejected_rows_does_not_take_the_job_for_its_value(xlm):
    for order in (("--retry-rejected", "gone.yaml"), ("gone.yaml", "--retry-rejected")):
        ended = xlm("run", *order)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("xlm: gone.yaml: cannot be read")


@pytest.mark.parametrize(
    ("reasons", "message"),
    [
        ("kiled_worker", "'kiled_worker' is not a reason of rejections; did you mean killed_worker?"),
        ("null_text, Unknown-lang", "'Unknown-lang' is not a reason of rejections; did you mean unknown_lang?"),
        ("all", "'all' is not a reason of rejections; reasons are invalid_utf8, null_id, "),
        ("", "'' is not a reason of rejections; reasons are invalid_utf8, null_id, "),
    ],
)
def test_misspelt_reason_is_refused_before_the_job_is_read(xlm, reasons, message):
    ended = xlm("run", "gone.yaml", "--retry-rejected", "--reasons", reasons)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"xlm: --reasons: {message}")


def test_reasons_without_retry_rejected_are_refused(xlm):
    ended = xlm("run", "gone.yaml", "--reasons", "null_text")
    assert ended.status == 2
    assert ended.err.startswith("xlm: --reasons selects what --retry-rejected computes again; add --retry-rejected;")


def test_reasons_are_those_of_the_command_line_or_killed_worker():
    from jobs.commands.job.reasons import parse_reasons

    assert parse_reasons(None) == ["killed_worker"]
    assert parse_reasons(["null_text", "unknown_lang"]) == ["null_text", "unknown_lang"]


def test_one_row_one_file_and_one_shard_are_not_plural(xlm, tmp_path, demo, monkeypatch):
    without_ray(monkeypatch)
    row = pa.table({"id": ["a"], "lang": ["en"], "text": ["Hello, world."], "topic": ["news"], "year": [2024]})
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(row, tmp_path / name)
    out, corpus, both = str(tmp_path / "out"), f"input.path={tmp_path}/a.parquet", f"input.path={tmp_path}/*.parquet"
    job = [str(demo / "small.yaml"), "--set", f"output.path={out}", "--set"]
    printed = [
        xlm(*command)
        for command in (
            ("plan", *job, corpus, "--quick"),
            ("plan", *job, both, "--limit", "1", "--quick"),
            ("check", *job, corpus),
            ("check", *job, both),  # with an id that is given twice
            ("run", *job, corpus),
            ("show", out),
            ("verify", out),
            ("diff", out, out),
            ("gc", out),
            ("inspect", str(demo / "checkpoint")),
        )
    ]
    text = "\n".join(ended.out + ended.err for ended in printed)
    assert "1 row of 1 file in 1 shard" in text
    assert "… and 1 more file (--limit)" in text
    assert "1 row in 1 shard" in text
    nouns = "(more )?(bytes|columns|files|heads|labels|languages|layers|parts|problems|rows|shards|tokens)"
    assert re.findall(rf"(?<![\d.,])1 {nouns}\b", text) == []


def write_demo_and_die(folder: Path, writes: int) -> None:
    """Write the demo in a process that is killed after a number of writes: opened files, directories and renames."""

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes
        is_write = event in ("os.mkdir", "os.rename") or (event == "open" and "w" in str(arguments[1]))
        if is_write and str(folder) in str(arguments[0]):
            writes -= 1
            if writes < 0:
                os._exit(9)

    sys.addaudithook(count)
    write_demo(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder. The job file is read without the folder's own path."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"")
        for path in folder.rglob("*")
        if path.is_file() and path.name != SMALL_JOB
    }


@pytest.mark.long
@pytest.mark.parametrize(
    "writes", [4, 14, 24]
)  # while the checkpoint or a head is written, and between the last renames
def test_demo_interrupted_while_it_writes_itself_is_repaired_by_the_next_one(demo, tmp_path, writes):
    folder = tmp_path / "demo"
    process, _ = forks.start(write_demo_and_die, folder, writes)
    forks.join(process)
    assert process.exitcode == 9
    write_demo(folder)
    assert contents(folder) == contents(demo)
