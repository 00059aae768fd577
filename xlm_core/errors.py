"""The library's errors, and how values appear in their messages."""

import re
import reprlib
from collections.abc import Sequence
from typing import get_args

_reprs = reprlib.Repr()
_reprs.maxstring = _reprs.maxother = 100  # enough for a name; a damaged file may have a megabyte in its place

_LANG_CODE = re.compile(r"[\w-]{1,16}")

format_value = _reprs.repr
"""Format a value for a message: its `repr`, shortened if it is long."""


def format_count(number: float, noun: str) -> str:
    """Format a count, such as `1 row`, `2,000 rows` or `0.5 GPUs`."""
    shown = f"{int(number):,}" if number == int(number) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"


def shown_lang(lang: str) -> str:
    """Return a language code for a message; of a value that may be a text in the wrong place, only its length."""
    return lang if _LANG_CODE.fullmatch(lang) else f"of {format_count(len(lang), 'character')}"


def format_list(items: Sequence[str], max_items: int, separator: str = ", ") -> str:
    """Format the first items of a list for a message: `a, b, c and 4 more`."""
    more = f" and {len(items) - max_items} more" if len(items) > max_items else ""
    return f"{separator.join(items[:max_items])}{more}"


def check_choice(name: str, value: object, choices: object) -> None:
    """Check that the value of an argument is one of a `Literal`.

    Raises:
        ValueError: it is not; the message lists the valid values.
    """
    if value not in get_args(choices):
        raise ValueError(f"{name}: got {format_value(value)}, expected one of {', '.join(get_args(choices))}")


def check_positive(name: str, value: int) -> None:
    """Check that the value of an argument is at least 1.

    Raises:
        ValueError: it is not.
    """
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected at least 1")


class FatalError(Exception):
    """The work cannot be done as requested. Correct the input, the checkpoint or the setting, and start again.

    The message is one line: where, the problem, the actual and the expected value, the next step.
    """


class CheckpointError(FatalError):
    """A checkpoint directory is incomplete or unreadable, or does not contain the requested model."""


class TokenizerError(FatalError):
    """A tokenizer cannot be built: a vocabulary, a merge table or a segmenter is missing or unusable."""


class InferenceError(Exception):
    """The model cannot compute some texts on this device, or in this precision. The message is one line."""


class DeviceMemoryError(InferenceError):
    """The device does not have enough memory even for the longest sequence alone.

    Attributes:
        device: the device.
        row: index of the row with that sequence.
        num_tokens: of that sequence.
    """

    def __init__(self, device: str, row: int, num_tokens: int):
        super().__init__(
            f"out of memory on {device}: the longest sequence, of text {row}, has {num_tokens} tokens, and ran alone; "
            "lower max_length, or use a device with more memory"
        )
        self.device, self.row, self.num_tokens = device, row, num_tokens


class NotFiniteError(InferenceError):
    """Some output of the model is infinite or NaN.

    Attributes:
        precision: of the model, such as torch.float16.
    """

    def __init__(self, precision: str):
        super().__init__(
            f"the output of the model is not finite in {precision}; set precision to bfloat16 or float32, or check the "
            "checkpoint"
        )
        self.precision = precision
