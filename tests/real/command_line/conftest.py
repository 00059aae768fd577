"""The fixture that calls the command line."""

from tests.command_line import xlm

__all__ = ["xlm"]
