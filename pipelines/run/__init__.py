"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""

from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from pipelines.run.progress import ProgressLine

__all__ = [
    "ProgressLine",
    "prepare_job",
    "run",
]
