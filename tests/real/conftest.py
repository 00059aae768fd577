"""Fixtures of tests/flow: a cluster, jobs, and jobs over given rows that run in this process."""

from tests.flow.conftest import cluster, make_job, metrics_port
from tests.flow.tasks.conftest import run_rows

__all__ = ["cluster", "make_job", "metrics_port", "run_rows"]
