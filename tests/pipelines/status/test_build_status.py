"""The status of a job: its state, counts, speed and time left, from what was read."""

from dataclasses import replace

import pyarrow as pa
import pytest

from pipelines.output import Holder
from pipelines.output.directory import Output
from pipelines.output.ledger import Ledger
from pipelines.status.read_status import build_status
from pipelines.status.run_file import RunDescription, RunFile, read_run
from pipelines.status.speed import Speed, measure_speed
from pipelines.storage import locate
from tests.pipelines.output.shard_records import make_record

HOLDER = Holder("process 7 on node-1", since_s=990.0)
RUN = RunDescription("process 7 on node-1", locked_s=990.0, started_s=1000.0)


def records(*numbers, rows=100, tokens=500):
    return [make_record(number, rows_read=rows, tokens=tokens) for number in numbers]


@pytest.fixture
def make_history(tmp_path, monkeypatch):
    """Return a function that appends records at given times, and loads the ledger."""

    def make(*commits):
        ledger = Ledger(locate(str(tmp_path / "ledger")))
        ledger.replace([])
        for time_s, appended in commits:
            with monkeypatch.context() as patch:
                patch.setattr("time.time_ns", lambda time_s=time_s: int(time_s * 1e9))
                ledger.append(appended)
        return ledger.history()

    return make


@pytest.fixture
def status_of(make_history):
    def status(run=RUN, holder=None, is_complete=False, commits=(), now_s=1100.0, policy=None):
        shards = pa.table({"shard": [record.shard for record in records(*range(4))], "num_rows": [100] * 4})
        history = make_history(*commits)
        return build_status("job", policy, shards, history, run, holder, is_complete=is_complete, now_s=now_s)

    return status


@pytest.mark.parametrize(
    ("run", "holder", "is_complete", "state"),
    [
        (RUN, HOLDER, False, "running"),
        (RUN, Holder("process 8 on node-2", since_s=1050.0), False, "preparing"),  # the file is of an earlier run
        (replace(RUN, status="complete", ended_s=1040.0), HOLDER._replace(since_s=1050.0), True, "preparing"),
        (None, HOLDER, False, "preparing"),
        (RUN, None, False, "stopped"),
        (None, None, False, "stopped"),
        (replace(RUN, status="complete", ended_s=1040.0), None, False, "stopped"),  # killed before `_SUCCESS`
        (replace(RUN, status="interrupted", ended_s=1040.0), None, False, "ended"),
        (replace(RUN, status="complete", ended_s=1040.0), None, True, "complete"),
        (None, None, True, "complete"),  # by a version that wrote no file
    ],
)
def test_state(status_of, run, holder, is_complete, state):
    assert status_of(run, holder, is_complete).state == state


def test_time_left_is_that_of_rows_that_are_neither_done_nor_failed(status_of):
    commits = [(1010.0, records(0)), (1060.0, records(1))]
    assert status_of(RUN, HOLDER, commits=commits, now_s=1060.0).speed == Speed(1000 / 60, 100.0)
    failed = replace(RUN, num_failed=1, rows_failed=100)
    assert status_of(failed, HOLDER, commits=commits, now_s=1060.0).speed == Speed(1000 / 60, 50.0)


def test_commits_of_earlier_runs_do_not_count_for_the_speed(make_history):
    commits = [(500.0, records(0, 1, tokens=9_999)), (1020.0, records(2)), (1030.0, records(3))]
    assert measure_speed(make_history(*commits), started_s=1000.0, until_s=1040.0, rows_left=50) == Speed(25.0, 10.0)
    assert measure_speed(make_history(*commits[:1]), started_s=1000.0, until_s=1040.0, rows_left=50) == Speed()


def test_speed_of_a_run_that_ended_does_not_change(status_of):
    commits = [(1010.0, records(0)), (1050.0, records(1))]
    killed, interrupted = RUN, replace(RUN, status="interrupted", ended_s=1100.0)
    for now_s in (2_000.0, 9_000.0):
        assert status_of(killed, commits=commits, now_s=now_s).speed == Speed(20.0, None)
        assert status_of(interrupted, commits=commits, now_s=now_s).speed == Speed(10.0, None)


def test_shards_that_were_computed_again_or_are_not_planned_any_more_count_once_or_not(status_of):
    commits = [(1010.0, records(0, 1, 8)), (1050.0, records(1, tokens=7))]
    status = status_of(commits=commits)
    assert status.shards_done == 2
    assert status.count("rows_read") == 200
    assert status.count("tokens") == 507
    assert status.reasons == {"empty_text": 4}


def test_file_of_a_run_keeps_the_first_errors_and_counts_all(tmp_path):
    output = Output(locate(str(tmp_path)))
    assert read_run(output) is None
    file = RunFile(output, HOLDER, 1000.0)
    for number in range(200):
        file.add_failed(f"shard-{number:03d}", "row group 0 cannot be read", 10)
    file.end("failed shards", 1100.0)
    file.write()
    run = read_run(output)
    assert run is not None
    assert (run.num_failed, run.rows_failed, run.status) == (200, 2_000, "failed shards")
    assert [*run.failed] == [f"shard-{number:03d}" for number in range(50)]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"process": 1, "locked_s": "x"}', b"[" * 100_000])
def test_damaged_file_of_a_run_is_like_none(tmp_path, content):
    output = Output(locate(str(tmp_path)))
    (output.bookkeeping / "run.json").put(content)
    assert read_run(output) is None
