"""The library's errors, and how values appear in their messages."""

import reprlib
from collections.abc import Sequence

_reprs = reprlib.Repr()
_reprs.maxstring = _reprs.maxother = 100  # enough for a name; a damaged file may have a megabyte in its place

format_value = _reprs.repr
"""Format a value for a message: its `repr`, shortened if it is long."""


def format_count(number: float, noun: str) -> str:
    """Format a count, such as `1 row`, `2,000 rows` or `0.5 GPUs`."""
    shown = f"{int(number):,}" if number == int(number) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"


def format_list(items: Sequence[str], max_items: int, separator: str = ", ") -> str:
    """Format the first items of a list for a message: `a, b, c and 4 more`."""
    more = f" and {len(items) - max_items} more" if len(items) > max_items else ""
    return f"{separator.join(items[:max_items])}{more}"


class FatalError(Exception):
    """The work cannot be done as requested. Correct the input, the checkpoint or the setting, and start again.

    The message is one line: where, the problem, the actual and the expected value, the next step.
    """


class CheckpointError(FatalError):
    """A checkpoint directory is incomplete or unreadable, or does not contain the requested model."""


class TokenizerError(FatalError):
    """A tokenizer cannot be built: a vocabulary, a merge table or a segmenter is missing or unusable."""
