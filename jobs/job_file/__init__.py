"""Read and validate job files: YAML, overrides from the command line, error messages and JSON Schema."""

from jobs.job_file.job_kinds import RUN, TRAIN, VOCABULARY, JobKind
from jobs.job_file.load import AnyJob, dump_job, format_value, json_schema, load_any_job, load_job, load_training_job

__all__ = [
    "RUN",
    "TRAIN",
    "VOCABULARY",
    "AnyJob",
    "JobKind",
    "dump_job",
    "format_value",
    "json_schema",
    "load_any_job",
    "load_job",
    "load_training_job",
]
