"""Try everything, in the order in which it is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.doctor.devices import try_devices, try_precisions
from jobs.doctor.segmenters import try_segmenters
from jobs.doctor.stores import try_checkpoint_sources, try_ray, try_stores, try_tables
from jobs.doctor.target import try_checkpoint, try_job
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobs.doctor.finding import Finding
    from pipelines.job import Job


def examine(job: Job | None, checkpoint: str | None, notify: Callable[[str], None]) -> Iterator[Finding]:
    """Try what this machine has, and what a job or a checkpoint needs. Nothing is written but temporary files.

    Args:
        job: the job to examine, if any.
        checkpoint: the checkpoint to examine, if any.
        notify: receives a message before a download.
    """
    kytea_model = job.tokenizer.kytea_model if job else None
    yield from try_segmenters(kytea_model and locate(kytea_model).path)
    yield from try_devices()
    yield from try_precisions()
    yield from try_stores()
    yield from try_tables()
    yield from try_checkpoint_sources()
    yield from try_ray()
    if job is not None:
        yield from try_job(job, notify)
    if checkpoint is not None:
        yield from try_checkpoint(checkpoint, notify)
