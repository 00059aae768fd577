"""Follow a job on a cluster: copy its log as it grows, and return how it ended.

The log is polled. A WebSocket, as `tail_job_logs` uses, hangs when a laptop sleeps or a proxy drops the connection, and
sends the whole log again when it is opened again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipelines.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.job_submission import JobDetails

    from jobs.submission.job_client import JobClient

_POLL_EVERY_S = 0.5
_LOG_CHARS_PER_S = 100_000  # the whole log is transferred each time, so a long one is polled less often
_MAX_BACKOFF_S = 30.0
_GIVE_UP_AFTER_S = 600.0


def follow(
    client: JobClient, submission_id: str, write: Callable[[str], None], notify: Callable[[str], None]
) -> JobDetails:
    """Copy the log of a job until it has ended.

    Args:
        client: the head.
        submission_id: the id of the job.
        write: receives the log, in pieces.
        notify: receives a message when the connection is lost, and when it is there again.

    Returns:
        The details of the job, which has ended.

    Raises:
        ClusterError: the head has not answered for ten minutes. The job may be running.
        UnknownJobError: the head does not know the job.
    """
    num_written, lost_at, backoff_s = 0, None, _POLL_EVERY_S
    while True:
        try:
            details = client.get_job_info(submission_id)  # before the log, so that the log of an ended job is complete
            log = client.get_job_logs(submission_id)
        except ClusterError as error:
            if lost_at is None:
                lost_at = time.monotonic()
                notify(f"{error}; the job continues, retrying")
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
            return details
        time.sleep(max(_POLL_EVERY_S, len(log) / _LOG_CHARS_PER_S))
