"""Read and validate job files: YAML, overrides from the command line, error messages and JSON Schema."""

from jobs.job_file.load import dump_job, format_value, json_schema, load_job

__all__ = [
    "dump_job",
    "format_value",
    "json_schema",
    "load_job",
]
