"""The tasks of a job as their settings: what each can be told, and the columns it adds to the output."""

from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, Tag, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipelines.settings import Count, Settings, Text, one_of


class TaskSpec(Settings):
    """A task as YAML has it: its bare name, or a mapping from its name to its settings."""

    kind: ClassVar[str]

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$",
        description="Letters, digits and underscores, a letter first; goes before the task's columns as <name>_.",
    )

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


class FeatureExtraction(TaskSpec):
    """Embed each row: a column `embedding`."""

    kind: ClassVar[str] = "feature-extraction"

    pooling: Literal["first", "mean", "last", "max"] = Field(
        default="mean", description="How the token vectors of a row become one vector."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    dtype: Literal["float32", "float16"] = Field(
        default="float32", description="Type of the numbers written; some readers lack float16."
    )

    def _own_columns(self) -> list[str]:
        return ["embedding"]


class TextClassification(TaskSpec):
    """Classify each row: columns `label` and `score`, on request also `top` and `scores`."""

    kind: ClassVar[str] = "text-classification"

    head: Text | None = Field(
        default=None, description="Directory or URL of the head; without it, the checkpoint's own."
    )
    top_k: Count | None = Field(
        default=None, description="Write the best so many labels with their scores, as column top."
    )
    scores: bool = Field(default=False, description="Write the scores of all labels, as column scores.")

    def _own_columns(self) -> list[str]:
        return ["label", "score", *(["top"] if self.top_k else []), *(["scores"] if self.scores else [])]


class TokenClassification(TaskSpec):
    """Label the words of each row: a column `words`, or `entities`."""

    kind: ClassVar[str] = "token-classification"

    head: Text | None = Field(
        default=None, description="Directory or URL of the head; without it, the checkpoint's own."
    )
    aggregate: Literal["word", "entity"] = Field(
        default="word", description="A label for each word (column words), or spans of several words (column entities)."
    )

    def _own_columns(self) -> list[str]:
        return ["words" if self.aggregate == "word" else "entities"]


TASKS: dict[str, type[TaskSpec]] = {
    task.kind: task for task in (FeatureExtraction, TextClassification, TokenClassification)
}


def _task_kind(value: object) -> str | None:
    if isinstance(value, TaskSpec):
        return value.kind
    if isinstance(value, dict) and len(cast("dict[Any, Any]", value)) == 1:
        value = next(iter(cast("dict[Any, Any]", value)))
    return value if isinstance(value, str) and value in TASKS else None


Task = Annotated[
    Annotated[FeatureExtraction, Tag("feature-extraction")]
    | Annotated[TextClassification, Tag("text-classification")]
    | Annotated[TokenClassification, Tag("token-classification")],
    one_of(f"one of {', '.join(TASKS)}, alone or as TASK: {{settings}}", _task_kind),
]
