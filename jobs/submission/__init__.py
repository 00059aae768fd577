"""Run a job on a cluster: what is shipped, Ray's Jobs API, and manifests for Kubernetes."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from jobs.submission import kuberay
    from jobs.submission.attempts import Attempt, check_id, find_attempts, running_ids, submit
    from jobs.submission.connection import connect
    from jobs.submission.job_client import JobClient
    from jobs.submission.job_log import LostJobError, follow
    from jobs.submission.requirements import pinned_requirements
    from jobs.submission.shipped_job import ShippedJob, ship_job

__all__ = [
    "Attempt",
    "JobClient",
    "LostJobError",
    "ShippedJob",
    "check_id",
    "connect",
    "find_attempts",
    "follow",
    "kuberay",
    "pinned_requirements",
    "running_ids",
    "ship_job",
    "submit",
]

_MODULES = {  # the module of each name; those of the Jobs API need ray[default]
    "Attempt": "attempts",
    "JobClient": "job_client",
    "LostJobError": "job_log",
    "ShippedJob": "shipped_job",
    "check_id": "attempts",
    "connect": "connection",
    "find_attempts": "attempts",
    "follow": "job_log",
    "pinned_requirements": "requirements",
    "running_ids": "attempts",
    "ship_job": "shipped_job",
    "submit": "attempts",
}

__getattr__ = lazy_names(__name__, _MODULES)
