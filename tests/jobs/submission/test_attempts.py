"""When a job is submitted again, and which ids its attempts get."""

from pathlib import Path

import pytest
from ray.dashboard.modules.job.pydantic_models import JobType
from ray.job_submission import JobDetails, JobStatus

from jobs.submission import ShippedJob, check_id, find_attempts, ship_job, submit
from jobs.submission.job_client import JobExistsError
from pipelines.errors import FatalError

RUNNING, FAILED, SUCCEEDED = JobStatus.RUNNING, JobStatus.FAILED, JobStatus.SUCCEEDED


class Jobs:
    """The jobs of a head, without the head."""

    def __init__(self) -> None:
        self.jobs: list[JobDetails] = []

    def list_jobs(self) -> list[JobDetails]:
        return list(self.jobs)

    def submit_job(self, *, submission_id: str, metadata: dict[str, str] | None = None, **_: object) -> None:
        if any(job.submission_id == submission_id for job in self.jobs):
            raise JobExistsError(submission_id)
        status = JobStatus.PENDING
        job = JobDetails(
            type=JobType.SUBMISSION, submission_id=submission_id, metadata=metadata, status=status, entrypoint=""
        )
        self.jobs.append(job)

    def end_last(self, status: JobStatus) -> None:
        self.jobs[-1].status = status


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def ship(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: news\ninput: {path: corpus, text: t, lang: l}\nmodel: {checkpoint: xlm}\ntasks: [feature-extraction]\n"
        "output: {path: out}\n",
        encoding="utf-8",
    )
    return lambda *overrides: ship_job(str(path), overrides)


def attempt(jobs: Jobs, shipped: ShippedJob, submission_id: str, status: JobStatus, *, once: bool = True) -> str:
    """Submit a job that was not submitted or has not succeeded, and end it. Return the id of the attempt."""
    submitted, is_new = submit(jobs, shipped, submission_id, once=once)
    assert is_new
    jobs.end_last(status)
    return submitted.id


@pytest.mark.parametrize("submission_id", ["5", "news-2", "2026-11-28", "news-1a2b3c4d", "news_2.2"])
def test_attempts_are_numbered_from_one(jobs, ship, submission_id):
    attempts = [attempt(jobs, ship(), submission_id, FAILED) for _ in range(3)]
    assert attempts == [submission_id, f"{submission_id}@2", f"{submission_id}@3"]
    assert [found.id for found in find_attempts(jobs, submission_id)] == attempts
    assert [found.id for found in find_attempts(jobs, attempts[1])] == [attempts[1]]


def test_ids_with_a_number_are_jobs_of_their_own(jobs, ship):
    ids = ["news", "news-2", "2"]
    attempts = {id_: [] for id_ in ids}
    for _ in range(2):
        for id_ in ids:
            attempts[id_].append(attempt(jobs, ship(), id_, FAILED))
    assert {id_: [found.id for found in find_attempts(jobs, id_)] for id_ in ids} == attempts
    assert len({job.submission_id for job in jobs.jobs}) == 6


def test_id_that_another_program_uses_is_skipped(jobs, ship):
    jobs.submit_job(submission_id="news")
    assert attempt(jobs, ship(), "news", FAILED) == "news@2"
    assert attempt(jobs, ship(), "news", FAILED) == "news@3"


@pytest.mark.parametrize("submission_id", ["", "a/b", "news@2", "-a", "a b", "é", "a" * 129])
def test_invalid_ids(submission_id):
    with pytest.raises(FatalError, match=r"^--submission-id '.*': expected at most 128 letters"):
        check_id(submission_id)


def test_job_that_runs_is_not_submitted_again(jobs, ship):
    attempt(jobs, ship(), "news", RUNNING)
    assert submit(jobs, ship(), "news", once=False)[1] is False
    with pytest.raises(FatalError, match=r"^news is running with other settings; wait for it, or stop it with --stop"):
        submit(jobs, ship("batch.max_tokens=99"), "news", once=False)


def test_id_of_its_own_runs_until_it_has_succeeded(jobs, ship):
    attempt(jobs, ship("batch.max_tokens=99"), "night-1", FAILED)
    attempt(jobs, ship(), "night-1", SUCCEEDED)
    found, is_new = submit(jobs, ship(), "night-1", once=True)
    assert (found.id, found.status, is_new) == ("night-1@2", SUCCEEDED, False)


def test_id_of_a_job_that_has_succeeded_is_not_that_of_another_job(jobs, ship):
    attempt(jobs, ship(), "night-1", SUCCEEDED)
    for other in (ship("batch.max_tokens=99"), ship("output.path=elsewhere")):
        with pytest.raises(
            FatalError, match=r"^night-1 has succeeded with other settings, .*; pass another --submission"
        ):
            submit(jobs, other, "night-1", once=True)


def test_default_id_runs_again_with_any_settings(jobs, ship):
    attempt(jobs, ship(), "news", SUCCEEDED, once=False)
    assert attempt(jobs, ship("batch.max_tokens=99"), "news", SUCCEEDED, once=False) == "news@2"
