"""Commands on clusters."""

from jobs.commands.cluster.cli import submit_command

__all__ = [
    "submit_command",
]
