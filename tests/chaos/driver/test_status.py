"""`xlm status` during a run, after it was killed or interrupted, and after it ended."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.output import Output
from pipelines.status import read_status
from pipelines.storage import locate
from tests.chaos.driver.fault_points import Handler, kill_at_nth
from tests.chaos.driver.scenarios import copy_start, run_in_fork, run_job, with_output


def status_of(out: Path) -> dict[str, Any]:
    return read_status(Output(locate(str(out)))).to_json()


def read_at_each_commit_and_kill_at_the_third(out: Path) -> Handler:
    """Return a handler that appends the status to a file next to the output after each commit."""
    kill = kill_at_nth("ledger: rename, after", 3)

    def handle(point: str, path: Path) -> None:
        if point == "ledger: rename, after":
            with out.with_suffix(".statuses").open("a") as file:
                print(json.dumps(status_of(out)), file=file)
        kill(point, path)

    return handle


@pytest.fixture
def killed(scenarios, tmp_path):
    """Return the output of a run that was killed at its third commit, and its status after each."""
    scenario, out = scenarios["first_run"], tmp_path / "out"
    job = with_output(scenario.job, out)

    run_in_fork(run_job, job, partial(read_at_each_commit_and_kill_at_the_third, out))
    return job, out, [json.loads(line) for line in out.with_suffix(".statuses").read_text().splitlines()]


def test_status_of_a_run_until_it_is_killed_and_resumed(killed):
    job, out, statuses = killed
    assert [status["state"] for status in statuses] == ["running"] * 3
    assert [status["shards"]["done"] for status in statuses] == [1, 2, 3]
    for status in statuses:
        assert status["shards"]["planned"] == 4
        assert status["rows"]["corpus"] == 6
        assert status["lock"]["process"] == status["run"]["process"]
        assert status["lock"]["process"].startswith("process ")
        assert status["run"]["tokens_per_s"] > 0
    assert statuses[-1]["run"]["seconds_left"] is not None

    stopped = status_of(out)
    assert stopped["state"] == "stopped"
    assert stopped["lock"] is None
    assert stopped["rows"] == statuses[-1]["rows"]
    assert stopped["run"]["started"] == statuses[-1]["run"]["started"]

    report = run_in_fork(run_job, job).report
    complete = status_of(out)
    assert complete["state"] == "complete"
    assert complete["run"]["status"] == report["status"] == "complete"
    assert {name: complete["run"][name] for name in ("started", "ended", "tokens_per_s")} == {
        name: report["run"][name] for name in ("started", "ended", "tokens_per_s")
    }
    assert complete["rejected"] == report["reasons"]
    assert complete["tokens"] == report["totals"]["tokens"]
    assert complete["rows"] == {
        "corpus": report["totals"]["rows_corpus"],
        "done": report["totals"]["rows_corpus"],
        "in_flight": 0,
        "written": report["totals"]["rows_out"],
        "rejected": report["totals"]["rows_rejected"],
        "filtered": report["totals"]["rows_filtered"],
    }


def test_failed_shards_are_named_with_their_errors(scenarios):
    scenario = scenarios["shard_fails"]
    report = scenario.result.report
    status = status_of(scenario.end)
    assert (status["state"], status["run"]["status"]) == ("ended", "complete except for failed shards")
    assert status["failed"] == [{"shard": shard["shard"], "error": shard["error"]} for shard in report["failed"]]
    assert status["shards"]["failed"] == len(report["failed"]) == 2


def test_output_without_the_file_of_its_run(scenarios, tmp_path):
    """As written by earlier versions."""
    out = tmp_path / "out"
    copy_start(scenarios["nothing_to_do"], out)
    (out / "_xlm" / "run.json").unlink()
    status = status_of(out)
    assert (status["state"], status["run"], status["failed"]) == ("complete", None, [])
    (out / "_SUCCESS").unlink()
    assert status_of(out)["state"] == "stopped"
