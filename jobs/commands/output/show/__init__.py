"""`xlm show`: show the state of an output, its columns, and some of its rows in readable form."""

from jobs.commands.output.show.display import show

__all__ = ["show"]
