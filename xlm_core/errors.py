"""Errors of the model library, named by what to do next."""

import reprlib
from collections.abc import Sequence

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100  # enough for a name; a damaged file may hold a megabyte where one is expected

shown = _short.repr
"""Writes into a message what was got: as `repr` does, and cut where it is long."""


def some(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """Name the first few of many in a message: `a, b, c and 4 more`."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{separator.join(items[:most])}{more}"


class FatalError(Exception):
    """The work cannot be done as asked: correct the input, the checkpoint or the setting, and start again.

    The message is one line for a person: what, where, got against expected, what to do.
    """


class CheckpointError(FatalError):
    """A checkpoint directory that is incomplete, unreadable, or does not hold the model it is asked for."""


class TokenizerError(FatalError):
    """A tokenizer that cannot be built: a vocabulary, a merge table or a segmenter is missing or unusable."""
