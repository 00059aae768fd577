"""The commands of `xlm`, one module each. `dispatch` runs the one that the command line names."""

from jobs.commands.dispatch import dispatch

__all__ = [
    "dispatch",
]
