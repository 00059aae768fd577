"""The base class of all settings in a job file, types that several of them use, and errors with several violations."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """A group of settings. Values are not converted, unknown settings are errors, and instances cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Violation = tuple[tuple[str | int, ...], str]
"""The path of a setting, relative to the group that is validated, and a message that says what is wrong with it."""


def violations(*found: Violation) -> PydanticCustomError:
    """Return one error for several violations, each with the path of its own setting.

    A validator with a single violation raises `ValueError` instead.
    """
    summary = "; ".join(message for _, message in found)
    return PydanticCustomError("violations", "{summary}", {"summary": summary, "found": found})


def one_of(expected: str, tag: Callable[[Any], str | None], *, text: bool = False) -> Discriminator:
    """Return a discriminator that selects the branch of a union, so that an error message is about one branch only.

    Args:
        expected: what the setting may be, for the message if no branch is selected.
        tag: returns the tag of the branch for a value; None if there is none.
        text: whether one of the branches is text, so that the message may advise to quote a value.
    """
    return Discriminator(
        tag,
        custom_error_type="expected",
        custom_error_message="expected {expected}",
        custom_error_context={"expected": expected, "text": text},
    )


def _auto_or_count(value: object) -> str | None:
    return "auto" if value == "auto" else "count" if type(value) is int else None


NonEmptyStr = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
AutoOrCount = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[Count, Tag("count")],
    one_of("auto or a whole number from 1", _auto_or_count),
]
