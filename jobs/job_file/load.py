"""Read a job from YAML, and say what is wrong with it in lines for a person.

Everything is checked before anything starts, and all that is wrong is said at once:

    job.yaml:7: tokenizer.max_lenght is not a setting; did you mean max_length?
    job.yaml:4: input.lang.fixed: got false (YAML reads no as false), expected text; write "no" in quotes
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.job_file.explanations import explain
from jobs.job_file.overrides import override
from jobs.job_file.yaml_reader import Place, SpecError, described, read_yaml
from pipelines.job import Job


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Read a job file.

    Args:
        path: a YAML file in UTF-8. Environment variables in it are not expanded.
        overrides: settings as `KEY=VALUE`, such as `batch.max_tokens=8192`, `input.keep=[a, b]` or
            `tasks.0.feature-extraction.pooling=max`; the values are YAML, and the last one of a key holds.

    Raises:
        SpecError: everything that is wrong, one line each.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:  # a null byte in the path, or bytes that are not UTF-8, are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise SpecError(f"{path}: cannot be read ({reason}); give the path of a job in YAML") from None
    document = read_yaml(text, lambda line: Place(f"{path}:{line}", line))
    if not isinstance(document.value, dict):
        needed = "input, model, tasks and output"
        raise SpecError(f"{path}: got {described(document.value)}, expected a mapping with {needed}")
    document.places[()] = Place(str(path), 0)
    for number, setting in enumerate(overrides):
        override(document, setting, order=len(text) + number)
    job = None
    try:
        job = Job.model_validate(document.value)
    except ValidationError as error:
        explain(error.errors(), document)
    if job is None or document.problems:
        raise SpecError(*(message for _, message in sorted(document.problems, key=lambda problem: problem[0])))
    return job


def dump_job(job: Job) -> str:
    """Write a job as YAML, with all its defaults; it loads back to the same job."""
    # PyYAML writes Unicode's line breaks and the byte order mark as they are, and reads them back as something else
    readable = not re.search("[\x85\u2028\u2029\ufeff]", job.model_dump_json())
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=readable, width=4096)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job's YAML form, for editors and other programs.

    What concerns several settings at once (two columns of one name), and the filter's grammar, only `load_job` checks.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Job.model_json_schema()}
