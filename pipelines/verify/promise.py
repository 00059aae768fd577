"""What `job.json` promises about every part of an output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError
from pipelines.job.fingerprint import fingerprint_digest, result_settings
from pipelines.job.job import Job
from pipelines.output.layout import INNER, JOB
from pipelines.verify.findings import Problem

if TYPE_CHECKING:
    from pipelines.output.directory import Output


@dataclass(frozen=True)
class Promise:
    """What `job.json` promises about every part.

    Attributes:
        job: the settings.
        columns: types by column name, in order.
        metadata: metadata of the schema.
    """

    job: Job
    columns: dict[str, str]
    metadata: dict[str, str]


def read_promise(output: Output) -> tuple[Promise, list[Problem]]:
    """Read `job.json`, and check that its settings, fingerprint and metadata agree.

    Raises:
        FatalError: it is missing or damaged.
    """
    file = output.inner / JOB
    saved = output.saved_job()
    if saved is None:
        raise FatalError(
            f"{output.location.url}: not the output of a job (it has no {INNER}/{JOB}); name the output.path of a job"
        )
    try:
        job = Job.model_validate_json(json.dumps(saved["spec"]))
        promise = Promise(job, dict(saved["columns"]), dict(saved["metadata"]))
        fingerprint: dict[str, Any] = saved["fingerprint"]
        digest = fingerprint_digest(fingerprint)
        recorded_digest = promise.metadata["xlm:fingerprint"]
        settings = result_settings(job)
        changed = [name for name in ("input", "tasks", "policy") if fingerprint.get(name) != settings[name]]
    except (ValueError, AttributeError, KeyError, TypeError):  # pydantic's errors are ValueErrors
        raise FatalError(
            f"{file.url}: damaged, or written by another version of this program; restore it, or use that version"
        ) from None
    problems: list[Problem] = []
    if digest != recorded_digest:
        message = f"its fingerprint has the digest {digest[:12]}…, but its metadata has {recorded_digest[:12]}…"
        problems.append(Problem(file.url, message, "restore it"))
    if changed:
        message = f"its settings differ from its fingerprint: {', '.join(changed)}"
        problems.append(Problem(file.url, message, "restore it"))
    return promise, problems
