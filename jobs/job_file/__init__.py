"""job_file."""
