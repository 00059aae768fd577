"""The command line, called in this process."""

from tests.command_line import xlm

__all__ = ["xlm"]
