"""The commands of the command line, one module each."""

from jobs.commands.execute import execute

__all__ = [
    "execute",
]
