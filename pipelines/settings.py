"""What all groups of settings of a job have in common: their strictness, a few types, and how errors are carried."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Violation = tuple[tuple[str | int, ...], str]  # where, below the setting that is checked, and what


def violations(*found: Violation) -> PydanticCustomError:
    """Carry several violations in one error, each with its own place; a check with one problem raises ValueError."""
    summary = "; ".join(message for _, message in found)
    return PydanticCustomError("violations", "{summary}", {"summary": summary, "found": found})


def one_of(expected: str, tag: Callable[[Any], str | None], *, text: bool = False) -> Discriminator:
    """Choose a union's branch before validation, so that an error speaks of one branch and not of them all."""
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
