"""Commands on a checkpoint."""

from jobs.commands.checkpoint.cli import convert_command, inspect_command

__all__ = [
    "convert_command",
    "inspect_command",
]
