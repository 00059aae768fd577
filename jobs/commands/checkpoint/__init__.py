"""Commands on a checkpoint."""

from jobs.commands.checkpoint.cli import convert_command, inspect_command, tokenize_command

__all__ = [
    "convert_command",
    "inspect_command",
    "tokenize_command",
]
