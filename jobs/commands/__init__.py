"""commands."""

from jobs.commands.execute import execute

__all__ = [
    "execute",
]
