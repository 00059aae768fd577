"""job_file."""

from jobs.job_file.load import dump_job, json_schema, load_job

__all__ = [
    "dump_job",
    "json_schema",
    "load_job",
]
