"""Commands for getting started."""

from jobs.commands.setup.cli import completion_command, demo_command, doctor_command, spec_command

__all__ = [
    "completion_command",
    "demo_command",
    "doctor_command",
    "spec_command",
]
