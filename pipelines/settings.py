"""The base class of all settings in a job file, types that several of them use, and errors with several violations."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Settings(BaseModel):
    """A group of settings. Values are not converted, unknown settings are errors, and instances cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class KindSettings(Settings):
    """The settings of one of several kinds, such as a task of a job.

    In YAML it is the bare name of its kind, or a mapping from this name to its settings.

    Attributes:
        kind: the name in a job file.
    """

    kind: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if value == cls.kind:
            return {}
        if isinstance(value, dict) and list(cast("dict[Any, Any]", value)) == [cls.kind]:
            return {} if value[cls.kind] is None else value[cls.kind]
        return value

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.kind: handler(self)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        definition = handler.resolve_ref_schema(reference)
        settings = {**definition, "title": f"{cls.kind} settings"}
        mapping = {
            "type": "object",
            "properties": {cls.kind: {"anyOf": [settings, {"type": "null"}]}},
            "required": [cls.kind],
            "additionalProperties": False,
        }
        described = {"title": cls.kind, "description": definition["description"]}
        definition.clear()
        definition.update(described, oneOf=[{"const": cls.kind}, mapping])
        return reference


def union_of_kinds(kinds: Mapping[str, type[KindSettings]], noun: str) -> Any:
    """Return the type of a value that is one of several kinds.

    Args:
        kinds: the classes, by the names of their kinds.
        noun: what a kind is, in upper case, for the message about a value that is none.
    """

    def find_kind(value: object) -> str | None:
        if isinstance(value, KindSettings):
            return value.kind
        if isinstance(value, dict) and len(cast("dict[Any, Any]", value)) == 1:
            value = next(iter(cast("dict[Any, Any]", value)))
        return value if isinstance(value, str) and value in kinds else None

    return Annotated[
        Union[tuple(Annotated[settings, Tag(kind)] for kind, settings in kinds.items())],  # noqa: UP007
        one_of(f"one of {', '.join(kinds)}, alone or as {noun}: {{settings}}", find_kind),
    ]


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


JobName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="At most 63 letters, digits, dots, dashes and underscores, starting with a letter or digit.",
    ),
]
NonEmptyStr = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
AutoOrCount = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[Count, Tag("count")],
    one_of("auto or a whole number from 1", _auto_or_count),
]
