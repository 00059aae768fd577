"""Commands on the output of a job."""

from jobs.commands.output.cli import diff_command, gc_command, show_command, status_command, verify_command

__all__ = [
    "diff_command",
    "gc_command",
    "show_command",
    "status_command",
    "verify_command",
]
