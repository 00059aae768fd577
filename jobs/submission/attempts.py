"""Submit a job so that it runs at most once at a time: its attempts have one id, and numbers from the second on.

The head refuses a second job of the same id, so of two calls at the same time only one submits the attempt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ray.job_submission import JobStatus

from jobs.submission.job_client import JobExistsError
from jobs.submission.shipped_job import JOB_FILE, START
from pipelines.errors import FatalError
from pipelines.formatting import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.submission.job_client import JobClient
    from jobs.submission.shipped_job import ShippedJob

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER = "@"  # begins the number of an attempt; ids cannot contain it, so an id may end in a number of its own

# The metadata of an attempt.
_SUBMISSION, _DIGEST = "xlm_submission", "xlm_job"

# Whichever python starts Ray. `exec`: without a shell in between, the driver itself receives the signal to stop.
_ENTRYPOINT = f'exec "$(command -v python || command -v python3)" {START} %s {JOB_FILE}'


@dataclass(frozen=True)
class Attempt:
    """One submission of a job.

    Attributes:
        id: its id on the head, such as news-1a2b3c4d@2.
        number: from 1.
        status: its status when it was looked up.
        digest: the hash of its settings.
    """

    id: str
    number: int
    status: JobStatus
    digest: str

    @property
    def has_ended(self) -> bool:
        """Whether it will not run any more."""
        return self.status.is_terminal()


def check_id(submission_id: str) -> None:
    """Check an id that the user chose.

    Raises:
        FatalError: it cannot be part of a URL and a file name, or could be the id of a numbered attempt.
    """
    if not _ID.fullmatch(submission_id):
        raise FatalError(
            f"--submission-id {excerpt(submission_id)!r}: expected at most 128 letters, digits, dots, dashes and "
            "underscores, starting with a letter or digit"
        )


def find_attempts(client: JobClient, submission_id: str) -> list[Attempt]:
    """Find the attempts of a job on the head, oldest first. The id of a numbered attempt finds that attempt alone."""
    jobs = [(job, job.submission_id, job.metadata or {}) for job in client.list_jobs()]
    attempts = [
        Attempt(id_, _number(id_), job.status, metadata[_DIGEST])
        for job, id_, metadata in jobs
        if id_ and _SUBMISSION in metadata and submission_id in (id_, metadata[_SUBMISSION])
    ]
    return sorted(attempts, key=lambda attempt: attempt.number)


def running_ids(client: JobClient) -> list[str]:
    """Return the ids of this project's jobs that have not ended."""
    return [
        job.submission_id
        for job in client.list_jobs()
        if job.submission_id and _SUBMISSION in (job.metadata or {}) and not job.status.is_terminal()
    ]


def submit(
    client: JobClient,
    shipped: ShippedJob,
    submission_id: str,
    *,
    once: bool,
    packages: Sequence[str] = (),
) -> tuple[Attempt, bool]:
    """Submit a job, unless it is running.

    Args:
        client: the head.
        shipped: the job.
        submission_id: the id of the job; its attempts get numbers.
        once: whether a job that succeeded is not run again.
        packages: requirements to install for this job.

    Returns:
        The newest attempt, and whether this call submitted it.

    Raises:
        FatalError: the job is running, or has succeeded, with other settings.
    """
    taken: set[str] = set()
    with TemporaryDirectory(prefix="xlm-submit-") as name:
        archive = Path(name) / "job.zip"
        shipped.write(archive)
        while True:
            attempts = find_attempts(client, submission_id)
            newest = attempts[-1] if attempts else None
            if newest is not None and (not newest.has_ended or (once and newest.status == JobStatus.SUCCEEDED)):
                if newest.digest != shipped.digest:
                    raise _other_settings(newest)
                return newest, False
            number = newest.number + 1 if newest is not None else 1
            while (new_id := _attempt_id(submission_id, number)) in taken:  # by a job of another program
                number += 1
            try:
                client.submit_job(
                    entrypoint=_ENTRYPOINT % shipped.command,
                    submission_id=new_id,
                    runtime_env=_runtime_env(archive, shipped, packages),
                    metadata={_SUBMISSION: submission_id, _DIGEST: shipped.digest},
                )
            except JobExistsError:  # submitted since `find_attempts`, or by another program
                taken.add(new_id)
                continue
            return Attempt(new_id, number, JobStatus.PENDING, shipped.digest), True


def _other_settings(attempt: Attempt) -> FatalError:
    if attempt.has_ended:
        return FatalError(
            f"{attempt.id} has succeeded with other settings, and is not run again; pass another --submission-id"
        )
    return FatalError(
        f"{attempt.id} is running with other settings; wait for it, or stop it with --stop and submit again"
    )


def _runtime_env(archive: Path, shipped: ShippedJob, packages: Sequence[str]) -> dict[str, Any]:
    env: dict[str, Any] = {
        "working_dir": str(archive),
        # The supervisor of the job runs in this environment, too.
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(shipped.stop_wait_s)},
    }
    return env | ({"pip": {"packages": list(packages), "pip_check": False}} if packages else {})


def _attempt_id(submission_id: str, number: int) -> str:
    return submission_id if number == 1 else f"{submission_id}{_NUMBER}{number}"


def _number(attempt_id: str) -> int:
    return int(attempt_id.partition(_NUMBER)[2] or 1)
