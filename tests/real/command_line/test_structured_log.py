"""Off a terminal, a run prints structured lines: messages, its progress every minute, and how it ended."""

import io
import json
import logging
import re
import time

import pytest
from rich.console import Console

from jobs.job_file import load_job
from pipelines.log import LineFormatter, format_line, logger
from pipelines.run import run
from pipelines.run.progress import Progress
from tests.flow.in_process import without_ray
from tests.pipelines.output.shard_records import make_record

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)(?: |$)')


def parse_line(line: str) -> dict[str, str]:
    """Parse a line of logfmt, all of which must be fields."""
    fields = _FIELD.findall(line)
    assert "".join(match.group() for match in _FIELD.finditer(line)) == line
    return {name: json.loads(value) if value.startswith('"') else value for name, value in fields}


@pytest.fixture
def arguments(demo, tmp_path, monkeypatch):
    """Return arguments for the demo's job, computed in this process."""
    without_ray(monkeypatch)
    return [str(demo / "small.yaml"), "--set", f"output.path={tmp_path / 'out'}"]


def test_lines_of_a_run(xlm, arguments, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.run.progress._LOG_EVERY_S", 0.02)
    ended = xlm("run", *arguments, "--debug")
    assert ended.status == 0
    report = json.loads((tmp_path / "out/_xlm/report.json").read_bytes())
    lines = [parse_line(line) for line in ended.out.splitlines() if line.startswith("time=")]
    assert {line["level"] for line in lines} == {"info"}
    progress = [line for line in lines if line["msg"] == "progress"]
    assert int(progress[-1]["rows"]) <= int(progress[-1]["rows_planned"]) == report["totals"]["rows_corpus"]
    (last,) = (line for line in lines if line["msg"] == "ended")
    assert last["status"] == "complete"
    for name, count in (("rows", "rows_out"), ("rejected", "rows_rejected"), ("tokens", "tokens")):
        assert int(last[name]) == report["totals"][count]
    shards = [parse_line(line) for line in ended.err.splitlines() if " msg=shard " in line]
    assert len(shards) == report["totals"]["shards"]
    assert {line["level"] for line in shards} == {"debug"}
    assert sum(int(line["tokens"]) for line in shards) == report["totals"]["tokens"]
    assert not [row["text"] for row in corpus if row["text"] in ended.out + ended.err]


def test_terminal_shows_messages_alone(arguments):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    run(load_job(arguments[0], arguments[2:]), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "tokenizers: up to 1" in shown
    assert "time=" not in shown


def test_progress_is_logged_while_no_shard_finishes(monkeypatch):
    monkeypatch.setattr("pipelines.run.progress._LOG_EVERY_S", 0.01)
    console = Console(file=io.StringIO(), width=40)
    assert isinstance(console.file, io.StringIO)
    progress = Progress(console, 100)
    with progress.show():
        progress.count(make_record(0, rows_read=40, rows_rejected=2, tokens=70))
        deadline = time.monotonic() + 60
        while console.file.getvalue().count("rows=40") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    line = parse_line(console.file.getvalue().splitlines()[-1])
    assert (line["msg"], line["rows_planned"], line["rejected"], line["tokens"]) == ("progress", "100", "2", "70")


@pytest.mark.parametrize("value", ["a b", 'say "x"', "a=b", "", "line\nbreak", "C:\\path", "日本語", "x", 7])
def test_any_value_is_read_back(value):
    line = format_line(0.0, "info", "message", {"value": value, "none": None})
    assert parse_line(line) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "msg": "message",
        "value": str(value),
    }


def test_traceback_follows_the_line_of_its_message():
    record = logging.LogRecord(logger.name, logging.ERROR, "", 0, "%s\n%s", ("failed", "Traceback\n  frame"), None)
    first, *rest = LineFormatter().format(record).splitlines()
    assert parse_line(first)["msg"] == "failed"
    assert rest == ["Traceback", "  frame"]
