"""The fingerprint of a job: everything its results depend on. Runs with equal fingerprints may share an output."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pipelines.job.input import DetectedLang
from xlm_core.languages import language_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from pipelines.job.job import Job

# Increment this when the same settings give other results or records than before, so that a resumed output does not
# mix the two.
RESULT_FORMAT = 8

# Where a task's head and calibration data are stored. The fingerprint contains their contents instead.
_TASK_LOCATIONS = {"head", "calibration"}

# A segmenter may change as long as no row in its language is tokenized, so each shard's record has its segmenters.
_SEGMENTER_SETTINGS = {"zh", "ja", "kytea_model"}


def result_settings(job: Job) -> dict[str, Any]:
    """Return the settings that can change a result, as plain JSON values.

    Paths of the corpus, the checkpoint and the heads are left out; `build_fingerprint` adds hashes of their contents.
    The choice of segmenters is left out too, because the ledger records them. `rows_per_shard` is included, because it
    decides which rows a part contains.
    """
    values = job.model_dump(mode="json")
    # A list, because the order is that of the output's columns.
    kept = [name if name == column else {name: column} for name, column in job.input.kept.items()]
    unused = _SEGMENTER_SETTINGS | (set[str]() if job.tokenizer.on_overflow == "window" else {"overlap_tokens"})
    return {
        "input": {key: values["input"][key] for key in ("id", "text", "filter")} | {"lang": _lang(job), "keep": kept},
        "precision": values["model"]["precision"],
        "objective": values["model"]["objective"],
        "tasks": [{task.kind: task.model_dump(mode="json", exclude=_TASK_LOCATIONS)[task.kind]} for task in job.tasks],
        "tokenizer": {key: value for key, value in values["tokenizer"].items() if key not in unused},
        "invariant": values["batch"]["invariant"],
        # "error" and "reject" give the same results as long as no id is repeated
        "policy": {
            "unknown_lang": job.policy.unknown_lang,
            "duplicate_ids": "ignore" if job.policy.duplicate_ids == "ignore" else "reject",
        },
        "rows_per_shard": values["output"]["rows_per_shard"],
        "token_counts": values["output"]["token_counts"],
    }


def _lang(job: Job) -> str | dict[str, Any]:
    lang = job.input.lang
    if isinstance(lang, str):
        return lang
    return {"detect": {"threshold": lang.threshold}} if isinstance(lang, DetectedLang) else lang.model_dump()


def build_fingerprint(
    job: Job,
    *,
    checkpoint_hash: str,
    head_hashes: Sequence[str | None],
    identifier_hashes: dict[str, str | None] | None,
    result_fields: Iterable[pa.Field],
    partition_types: Mapping[str, pa.DataType],
) -> dict[str, Any]:
    """Return everything that all results of a job depend on, as plain JSON values.

    Args:
        job: the job's settings.
        checkpoint_hash: content hash of the trunk's checkpoint.
        head_hashes: for each task, the content hash of its head; None if the checkpoint contains the head.
        identifier_hashes: content hashes of what identifies languages; None if the job does not detect them.
        result_fields: the columns that the tasks add. Their metadata has the ranges of int8 embeddings.
        partition_types: the types of columns whose values are in the names of directories. They follow from the names
            of all directories, so a new one may change the type that existing parts have.
    """
    ranges = [
        field.metadata[key]
        for field in result_fields
        for key in (b"int8_low", b"int8_high")
        if key in (field.metadata or {})
    ]
    return {
        "format": RESULT_FORMAT,
        **result_settings(job),
        "checkpoint": checkpoint_hash,
        "heads": list(head_hashes),
        "identifier": identifier_hashes,
        "calibration": hashlib.sha256(b"".join(ranges)).hexdigest() if ranges else None,
        "languages": language_tables(),
        "partitions": {name: str(partition_types[name]) for name in sorted(partition_types)},
    }


def fingerprint_digest(fingerprint: dict[str, Any]) -> str:
    """Return the SHA-256 of a fingerprint, which is part of the metadata of every part."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
