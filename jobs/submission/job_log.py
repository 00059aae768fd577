"""Follow a job on a cluster: copy its log as it grows, and return how it ended.

The log is polled. A WebSocket, as `tail_job_logs` uses, hangs when a laptop sleeps or a proxy drops the connection, and
sends the whole log again when it is opened again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobs.submission.job_client import HeadError, UnknownJobError
from pipelines.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.job_submission import JobDetails

    from jobs.submission.job_client import JobClient

_POLL_EVERY_S = 0.5
_LOG_CHARS_PER_S = 100_000  # the whole log is transferred each time, so a long one is polled less often
_MAX_BACKOFF_S = 30.0
_GIVE_UP_AFTER_S = 600.0


class LostJobError(ClusterError):
    """The head does not know a job any more, because it was started again, or because the job was deleted."""


def follow(
    client: JobClient, submission_id: str, write: Callable[[str], None], notify: Callable[[str], None]
) -> JobDetails:
    """Copy the log of a job until it has ended.

    Args:
        client: the head.
        submission_id: the id of the job.
        write: receives the log, in pieces.
        notify: receives a message when the connection is lost, when it is there again, and when the head cannot read
            the log. Then the status of the job is followed, and `write` receives the message with which it ended.

    Returns:
        The details of the job, which has ended.

    Raises:
        LostJobError: the head does not know the job any more.
        ClusterError: the head has not answered for ten minutes. The job may be running.
    """
    num_written, is_readable, lost_at, backoff_s = 0, True, None, _POLL_EVERY_S
    while True:
        try:
            details = client.get_job_info(submission_id)  # before the log, so that the log of an ended job is complete
            try:
                log, is_readable = client.get_job_logs(submission_id), True
            except HeadError as error:  # it fails for a log with a byte that is not UTF-8
                if is_readable:
                    notify(f"{error}; the log cannot be read, {submission_id} is followed without it")
                log, is_readable = "", False
        except UnknownJobError as error:
            raise LostJobError(
                f"{error}; the head was started again, or the job was deleted; submit it again to resume"
            ) from None
        except ClusterError as error:
            if lost_at is None:
                lost_at = time.monotonic()
                notify(f"{error}; retrying for ten minutes")
            if time.monotonic() - lost_at > _GIVE_UP_AFTER_S:
                raise
            time.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            continue
        if lost_at is not None:
            notify(f"{client.address} answers again")
            lost_at, backoff_s = None, _POLL_EVERY_S
        write(log[num_written:])
        num_written = max(num_written, len(log))
        if details.status.is_terminal():
            if not is_readable and details.message:
                write(f"{details.message.rstrip()}\n")  # of a failed job, with the last lines of its log
            return details
        time.sleep(max(_POLL_EVERY_S, len(log) / _LOG_CHARS_PER_S))
