"""Commands on a job file."""

from jobs.commands.job.cli import (
    check_command,
    init_command,
    plan_command,
    run_command,
    schema_command,
    train_command,
    try_command,
)

__all__ = [
    "check_command",
    "init_command",
    "plan_command",
    "run_command",
    "schema_command",
    "train_command",
    "try_command",
]
