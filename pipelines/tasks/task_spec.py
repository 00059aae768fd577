"""What all tasks of a job have in common as settings: a name, the YAML form, and columns that they add."""

from typing import Any, ClassVar, cast

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipelines.settings import Settings
from pipelines.storage.options import Url


class TaskSettings(Settings):
    """A task as YAML has it: its bare name, or a mapping from its name to its settings."""

    kind: ClassVar[str]
    needs_offsets: ClassVar[bool] = False  # whether it must know which characters and words its tokens are

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$",
        description="Letters, digits and underscores, a letter first; goes before the task's columns as <name>_.",
    )

    @property
    def head_url(self) -> str | None:
        """Where the task's head lies; None for the checkpoint's own, or for a task that has none."""
        return None

    @property
    def columns(self) -> list[str]:
        """Columns of the output which this task adds, in their order."""
        return [f"{self.name}_{column}" if self.name else column for column in self._own_columns()]

    def _own_columns(self) -> list[str]:
        raise NotImplementedError

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
        described = {"title": cls.kind, "description": definition["description"]}
        mapping = {
            "type": "object",
            "properties": {cls.kind: {"anyOf": [settings, {"type": "null"}]}},
            "required": [cls.kind],
            "additionalProperties": False,
        }
        definition.clear()
        definition.update(described, oneOf=[{"const": cls.kind}, mapping])
        return reference


class HeadTaskSettings(TaskSettings):
    """A task with a head, which may lie elsewhere than the trunk."""

    head: Url | None = Field(
        default=None, description="Directory or URL of the head; without it, the checkpoint's own."
    )

    @property
    def head_url(self) -> str | None:
        """Where the task's head lies; None for the checkpoint's own."""
        return self.head
