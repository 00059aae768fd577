"""`xlm submit` follows a job while its head fails, and exits with a status that says whether to try again."""

import pytest

from jobs.submission import connect, job_log
from tests.jobs.submission.fake_head import FakeHead

pytestmark = pytest.mark.long

JOB = {
    "type": "SUBMISSION",
    "submission_id": "night-1",
    "status": "RUNNING",
    "entrypoint": "",
    "metadata": {"xlm_submission": "night-1", "xlm_job": ""},
}


@pytest.fixture
def running(fake_head: FakeHead) -> FakeHead:
    """A head with a job that runs."""
    fake_head.answers["GET", "/api/jobs/"] = (200, [JOB])
    fake_head.answers["GET", "/api/jobs/night-1"] = (200, JOB)
    fake_head.answers["GET", "/api/jobs/night-1/logs"] = (200, {"logs": "read 3 files\n"})
    return fake_head


@pytest.fixture
def follow(xlm, running):
    return lambda: xlm("submit", "--submission-id", "night-1", "--address", running.address)


def test_head_that_was_started_again_has_lost_the_job(running, follow):
    running.answers["GET", "/api/jobs/night-1"] = (404, "Job night-1 does not exist")
    assert follow() == (
        1,
        "",
        f"xlm: {running.address}: Job night-1 does not exist; the head was started again, or the job was deleted; "
        "submit it again to resume\n",
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((502, "bad gateway"), "status 502, bad gateway"),
        ((404, "default backend"), "status 404, default backend"),
        ((200, "<html>"), "status 200, but no answer of Ray"),
    ],
)
def test_head_that_does_not_come_back(running, follow, monkeypatch, answer, reason):
    monkeypatch.setattr(job_log, "_GIVE_UP_AFTER_S", 0.1)
    running.answers["GET", "/api/jobs/night-1"] = answer
    ended = follow()
    assert (ended.status, ended.out) == (1, "")
    command = f"xlm submit --submission-id night-1 --address {running.address}"
    assert ended.err.splitlines() == [
        f"xlm: {running.address}: {reason}; retrying for ten minutes",
        f"xlm: {running.address}: {reason}; night-1 may be running, follow it with: {command}",
    ]


def test_token_that_is_refused_later(running, follow):
    """A retry does not help."""
    running.answers["GET", "/api/jobs/night-1"] = (403, "Forbidden")
    ended = follow()
    assert (ended.status, ended.out) == (2, "")
    assert "the cluster refused the token; set " in ended.err
    assert "; night-1 may be running, follow it with: xlm submit --submission-id night-1 " in ended.err


def test_job_whose_log_cannot_be_read(head, submit):
    """Ray fails to read a log with a byte that is not UTF-8."""
    connect(head.address).submit_job(
        entrypoint="printf '\\377'; sleep 2; echo what went wrong; exit 3",
        submission_id="binary-log",
        metadata={"xlm_submission": "binary-log", "xlm_job": ""},
    )
    ended = submit("--submission-id", "binary-log")
    assert ended.status == 3
    assert ended.out.endswith("what went wrong\n")
    assert ended.err.startswith(f"xlm: {head.address}: status 500, UnicodeDecodeError: ")
    assert ended.err.endswith("; the log cannot be read, binary-log is followed without it\n")
    assert ended.err.count("\n") == 1
