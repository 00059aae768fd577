"""Read and validate job files: YAML, overrides from the command line, error messages and JSON Schema."""

from jobs.job_file.job_kinds import RUN, TRAIN, VOCABULARY, JobKind
from jobs.job_file.load import dump_job, format_value, json_schema, load_job, load_training_job

__all__ = [
    "RUN",
    "TRAIN",
    "VOCABULARY",
    "JobKind",
    "dump_job",
    "format_value",
    "json_schema",
    "load_job",
    "load_training_job",
]
