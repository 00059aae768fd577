"""Load a job from YAML. All errors of a job file are found before the job starts, and reported together:

job.yaml:7: tokenizer.max_lenght is not a setting; did you mean max_length?
job.yaml:4: input.lang.fixed: got 16 (YAML reads 0x10 as 16), expected text; write "0x10" in quotes
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml
from pydantic import ValidationError

from jobs.job_file.error_messages import add_messages
from jobs.job_file.job_kinds import RUN, TRAIN, VOCABULARY, JobKind
from jobs.job_file.overrides import apply_override
from jobs.job_file.yaml_reader import JobFileError, SourcePosition, describe_value, read_yaml
from jobs.job_file.yaml_scalars import Dumper
from pipelines.job import Job
from pipelines.settings import Settings
from pipelines.training_job import TrainingJob, VocabularyJob

AnyJob: TypeAlias = Job | TrainingJob | VocabularyJob


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Load and validate the file of a job that `xlm run` runs; see `_load`."""
    return cast("Job", _load(path, overrides, RUN))


def load_training_job(path: str | Path, overrides: Sequence[str] = ()) -> TrainingJob | VocabularyJob:
    """Load and validate the file of a job that `xlm train` runs; see `_load`."""
    return cast("TrainingJob | VocabularyJob", _load(path, overrides, TRAIN, VOCABULARY))


def load_any_job(path: str | Path, overrides: Sequence[str] = ()) -> AnyJob:
    """Load and validate the file of a job of any kind; see `_load`."""
    return cast("AnyJob", _load(path, overrides, RUN, TRAIN, VOCABULARY))


def _load(path: str | Path, overrides: Sequence[str], *kinds: JobKind) -> Settings:
    """Load and validate a job file.

    Args:
        path: a YAML file in UTF-8. Environment variables in it are not expanded.
        overrides: settings as `KEY=VALUE`, such as `batch.max_tokens=8192`, `input.keep=[a, b]` or
            `tasks.0.feature-extraction.pooling=max`. The values are YAML. If a key is repeated, its last value is used.
        kinds: what kinds of job file it may be; the first one, if it does not have the own setting of another.

    Raises:
        JobFileError: the file or an override is not valid. The message has one line per error.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path, or bytes that are not UTF-8
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise JobFileError(f"{path}: cannot be read ({reason}); pass the path of a job file in YAML") from None
    document = read_yaml(text, lambda line: SourcePosition(f"{path}:{line}", line))
    if not isinstance(document.value, dict):
        raise JobFileError(f"{path}: got {describe_value(document.value)}, expected a mapping with {kinds[0].required}")
    kind = next((kind for kind in kinds if kind.own_setting in document.value), kinds[0])
    for other in (RUN, TRAIN, VOCABULARY):
        if other not in kinds and other.own_setting in document.value and kind.own_setting not in document.value:
            raise JobFileError(
                f"{path}: has {other.own_setting}, so it is a job for {other.command}, not {kind.command}"
            )
    document.positions[()] = SourcePosition(str(path), 0)
    for number, setting in enumerate(overrides):
        apply_override(document, setting, order=len(text) + number)
    job = None
    try:
        job = kind.settings.model_validate(document.value)
    except ValidationError as error:
        add_messages(error.errors(), document, kind)
    if job is None or document.problems:
        raise JobFileError(*(message for _, message in sorted(document.problems, key=lambda problem: problem[0])))
    return job


def dump_job(job: Settings) -> str:
    """Format a job as YAML with all defaults. Loading this YAML gives an equal job."""
    # PyYAML does not escape Unicode's line breaks and the byte order mark, but reads them back as other characters.
    allow_unicode = not re.search("[\x85\u2028\u2029\ufeff]", job.model_dump_json())
    settings = job.model_dump(mode="json")
    return yaml.dump(settings, Dumper=Dumper, sort_keys=False, allow_unicode=allow_unicode, width=4096)


def format_value(value: Any) -> str:
    """Format a text, number or list as YAML on one line, in quotes if needed, also within brackets."""
    allow_unicode = not re.search("[\x85\u2028\u2029\ufeff]", str(value))
    text = yaml.dump([value], Dumper=Dumper, default_flow_style=True, allow_unicode=allow_unicode, width=10**9)
    return text.strip()[1:-1]


def json_schema(kind: JobKind = RUN) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of job files of a kind, for editors and other programs.

    It does not cover rules that involve several settings, such as unique column names, and the grammar of filters.
    `load_job` checks these too.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.settings.model_json_schema()}
