"""The log: full tracebacks of what fails in workers and in the driver, without the text of a row."""

import re
from pathlib import Path

import pytest

from pipelines.errors import FatalError, ShardError, StalledError
from pipelines.log import MAX_TRACEBACK_CHARS, format_traceback
from pipelines.rows import FailureKind, ShardFailure
from tests.flow.in_process import without_ray
from xlm_core import XLMTokenizer

SECRET = "zanzibarquote"
TIME = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Return the folder of logs, which does not exist yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "xlm-batch"


@pytest.fixture
def job(demo, tmp_path, monkeypatch):
    """Return arguments for a job of one language, computed in this process."""
    without_ray(monkeypatch)
    settings = [f"output.path={tmp_path / 'out'}", "input.filter=lang == 'en'", "tasks=[feature-extraction]"]
    return [str(demo / "small.yaml"), *(argument for setting in settings for argument in ("--set", setting))]


@pytest.fixture
def failing_job(job, monkeypatch):
    """Return arguments for a job whose tokenizer raises an error that quotes text, from another one that does, too."""

    def inner_frame(texts):
        raise LookupError(f"{SECRET}: {texts[0]}")

    def outer_frame(texts):
        try:
            inner_frame(texts)
        except LookupError as error:
            raise ValueError(f"{SECRET}\n{error}") from None

    monkeypatch.setattr(XLMTokenizer, "encode_batch", lambda _, texts, *args, **options: outer_frame(texts))
    return job


def check_frames(log: str) -> None:
    """Check that a log has all frames of the error of `failing_job`, in order, and nothing of its message."""
    frames = re.findall(r'File ".*?([^/"]+)", line \d+, in (\w+)', log)
    assert frames[:2] == [("test_log.py", "outer_frame"), ("test_log.py", "inner_frame")]
    assert frames[2:6] == [
        ("run_stage.py", "run_stage"),
        ("cpu_process.py", "step"),
        ("tokenize.py", "compute"),
        ("tokenize.py", "_encode"),
    ]
    assert frames[-1] == ("test_log.py", "outer_frame")
    assert "builtins.LookupError\n" in log
    assert "builtins.ValueError\n" in log
    assert SECRET not in log


def test_traceback_of_a_worker_is_in_a_file_whose_path_is_printed(xlm, failing_job, state):
    ended = xlm("run", *failing_job)
    assert ended.status == 3
    (file,) = state.iterdir()
    assert ended.err == f"xlm: full tracebacks: {file}\n"
    assert re.fullmatch(r"small-\d{8}-\d{6}-\d+\.log", file.name)
    log = file.read_text(encoding="utf-8")
    check_frames(log)
    assert re.match(rf"{TIME} level=error msg=\"shard \w\S*: failed: ValueError at test_log.py:\d+\"\nTraceback ", log)
    assert "Traceback" not in ended.out


@pytest.mark.parametrize("order", [("--debug", "run"), ("run", "--debug")])
def test_debug_prints_the_log(xlm, failing_job, state, order):
    ended = xlm(*order, *failing_job)
    assert ended.status == 3
    check_frames(ended.err)
    assert re.search(r"level=debug msg=\"xlm-batch \d\S*, Python 3", ended.err)
    assert len(list(state.iterdir())) == 1


def test_log_file_has_the_whole_log_and_is_appended_to(xlm, job, tmp_path, state):
    file = tmp_path / "logs" / "run.log"
    ended = xlm("--log-file", str(file), "run", *job)
    assert (ended.status, ended.err) == (0, "")
    log = file.read_text(encoding="utf-8")
    assert 'level=info msg="21 rows in 5 shards; tokenizers: up to 1, models: 1 on the CPU"' in log
    seconds = r"read_s=\d+\.\d{3} identify_s=0\.000 tokenize_s="
    assert re.search(rf"level=debug msg=shard shard=\S+ rows=20 rejected=1 tokens=\d+ {seconds}", log)
    assert xlm("run", *job, "--log-file", str(file)).status == 0  # nothing to do
    again = file.read_text(encoding="utf-8")
    assert again.startswith(log)
    assert len(again) > len(log)
    assert not state.exists()


def test_run_without_errors_and_invalid_job_write_no_file(xlm, job, state):
    assert xlm("run", *job).status == 0
    assert xlm("run", *job, "--set", "model.checkpoint=gone").status == 2
    assert not state.exists()


def test_debug_prints_the_traceback_of_an_invalid_job(xlm, state):
    ended = xlm("check", "gone.yaml", "--debug")
    assert ended.status == 2
    assert "in load_job" in ended.err
    assert 'level=warning msg="xlm check: gone.yaml: cannot be read' in ended.err
    assert not state.exists()


def test_unexpected_error_of_the_driver_is_logged(xlm, state, monkeypatch):
    def raise_error(*_):
        raise KeyError("a name")

    monkeypatch.setattr("jobs.job_file.json_schema", raise_error)
    ended = xlm("schema")
    assert ended.status == 1
    (file,) = state.iterdir()
    assert ended.err.splitlines() == [
        "xlm: unexpected: KeyError: 'a name'; this is a bug, please report it with its traceback, which --debug prints",
        f"xlm: full tracebacks: {file}",
    ]
    log = file.read_text(encoding="utf-8")
    assert 'level=error msg="xlm schema: unexpected KeyError"\nTraceback ' in log
    assert "in raise_error" in log


@pytest.mark.parametrize("where", ["below a file", "a directory", "a full disk"])
def test_log_that_cannot_be_written_does_not_fail_a_run(xlm, job, tmp_path, where):
    (tmp_path / "file").touch()
    path = {"below a file": tmp_path / "file" / "log", "a directory": tmp_path, "a full disk": Path("/dev/full")}[where]
    ended = xlm("run", *job, "--log-file", str(path))
    assert ended.status == 0
    assert ended.err.startswith(f"xlm: the log cannot be written to {path} (")
    assert ended.err.endswith("--log-file names another file, and --debug prints the log\n")
    assert ended.err.count("\n") == 1


def test_state_directory_that_cannot_be_written_does_not_change_how_a_run_fails(xlm, failing_job, state):
    state.parent.touch()
    ended = xlm("run", *failing_job)
    assert ended.status == 3
    assert re.fullmatch(r"xlm: the log cannot be written to \S+ \(Not a directory\); [^\n]+\n", ended.err)


def raise_from_many_frames(depth: int) -> None:
    if depth:
        (raise_from_many_frames if depth % 2 else lambda depth: raise_from_many_frames(depth))(depth - 1)
    else:
        raise OSError(SECRET)


def test_long_tracebacks_keep_their_end():
    with pytest.raises(OSError, match=SECRET) as raised:
        raise_from_many_frames(400)
    lines = format_traceback(raised.value)
    assert lines.startswith("… (earlier frames are omitted)\n  ")
    assert lines.endswith("raise OSError(SECRET)\nbuiltins.OSError")
    assert len(lines) <= MAX_TRACEBACK_CHARS + 100


def test_failures_travel_with_their_traceback():
    stalled = ShardFailure.from_error(StalledError("no progress", "Thread 1\n  File …"))
    assert stalled == ShardFailure(FailureKind.STALLED, "no progress", "Thread 1\n  File …")
    for error in (FatalError("a"), ShardError("b"), OSError(2, "c")):
        failure = ShardFailure.from_error(error)
        assert failure.traceback is not None
        assert failure.traceback.endswith(type(error).__name__)
        assert ShardFailure.from_row(failure.to_row()) == failure
