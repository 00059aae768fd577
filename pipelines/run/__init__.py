"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""

from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job

__all__ = [
    "prepare_job",
    "run",
]
