"""Fixtures of tests/flow: jobs over given rows, run by the real stages in this process."""

from tests.flow.conftest import cluster, make_job
from tests.flow.tasks.conftest import run_rows

__all__ = ["cluster", "make_job", "run_rows"]
