"""What `job.json` says about the job, and so about every part of its output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.filter import parse_filter
from pipelines.job import Job, fingerprint_digest, result_settings, unreadable_settings_error
from pipelines.output import JOB_FILE, decode_schema
from pipelines.verify.check_results import quoted_columns
from pipelines.verify.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from pipelines.job import InputSettings, PolicySettings
    from pipelines.output import Output
    from pipelines.storage import StoreSettings
    from pipelines.tasks import TaskSettings


@dataclass(frozen=True)
class JobDescription:
    """What `job.json` says about the job, and so about every part.

    Attributes:
        input: the input settings.
        tasks: settings of the tasks.
        ids_are_unique: whether no two rows of the output may have the same id.
        policy: the limits on rejected rows and failed shards.
        stores: options of the stores that contain the corpus.
        schema: of the parts.
        metadata: metadata of the schema.
        segmenters: the segmenters of the job, as in `ShardRecord`.
    """

    input: InputSettings
    tasks: Sequence[TaskSettings]
    ids_are_unique: bool
    policy: PolicySettings
    stores: Sequence[StoreSettings]
    schema: pa.Schema
    metadata: dict[str, str]
    segmenters: dict[str, str]

    @property
    def quoted_columns(self) -> list[str]:
        """The input columns that results quote."""
        return quoted_columns(self.tasks, self.input.text_columns)

    @property
    def input_columns(self) -> list[str]:
        """The input columns that verification needs: ids, filter columns, and texts that results quote."""
        columns = {*self.quoted_columns, *([self.input.id] if self.input.id else [])}
        if self.input.filter:
            columns |= parse_filter(self.input.filter)[1]
        return sorted(columns)


def read_job_description(output: Output) -> tuple[JobDescription, list[Problem]]:
    """Read `job.json`, and check that its settings, fingerprint and metadata agree.

    Raises:
        FatalError: it is missing or damaged.
    """
    file = output.bookkeeping / JOB_FILE
    saved = output.read_existing_job()
    try:
        job = Job.model_validate_json(json.dumps(saved["spec"]))
        description = JobDescription(
            input=job.input,
            tasks=job.tasks,
            ids_are_unique=job.input.id is not None and job.policy.duplicate_ids != "ignore",
            policy=job.policy,
            stores=job.storage,
            schema=decode_schema(saved["schema"]),
            metadata=dict(saved["metadata"]),
            segmenters=dict(saved["segmenters"]),
        )
        fingerprint: dict[str, Any] = saved["fingerprint"]
        digest = fingerprint_digest(fingerprint)
        recorded_digest = description.metadata["xlm:fingerprint"]
        settings = result_settings(job)
        changed = [name for name in ("input", "tasks", "policy") if fingerprint.get(name) != settings[name]]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):  # pydantic's errors are ValueErrors
        raise unreadable_settings_error(file.url) from None
    problems: list[Problem] = []
    if digest != recorded_digest:
        message = f"its fingerprint has the digest {digest[:12]}…, but its metadata has {recorded_digest[:12]}…"
        problems.append(Problem(file.url, message, "restore it"))
    if changed:
        message = f"its settings differ from its fingerprint: {', '.join(changed)}"
        problems.append(Problem(file.url, message, "restore it"))
    return description, problems
