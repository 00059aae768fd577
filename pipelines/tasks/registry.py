"""The registry of tasks: a new kind of task is a new module and an entry here."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Union, cast

from pydantic import Tag, TypeAdapter, ValidationError

from pipelines.settings import one_of
from pipelines.tasks.feature_extraction import FeatureExtraction
from pipelines.tasks.language_modeling import FillMask, LmScoring, TextGeneration
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.task import TaskSettings
from pipelines.tasks.text_classification import TextClassification
from pipelines.tasks.token_classification import TokenClassification

TASKS: dict[str, type[TaskSettings]] = {
    task.kind: task
    for task in (
        FeatureExtraction,
        TextClassification,
        TokenClassification,
        QuestionAnswering,
        MultipleChoice,
        FillMask,
        LmScoring,
        TextGeneration,
    )
}


def _find_kind(value: object) -> str | None:
    if isinstance(value, TaskSettings):
        return value.kind
    if isinstance(value, dict) and len(cast("dict[Any, Any]", value)) == 1:
        value = next(iter(cast("dict[Any, Any]", value)))
    return value if isinstance(value, str) and value in TASKS else None


if TYPE_CHECKING:
    AnyTaskSettings = TaskSettings
else:
    AnyTaskSettings = Annotated[
        Union[tuple(Annotated[task, Tag(kind)] for kind, task in TASKS.items())],  # noqa: UP007
        one_of(f"one of {', '.join(TASKS)}, alone or as TASK: {{settings}}", _find_kind),
    ]


def parse_tasks(job: Any) -> list[TaskSettings]:
    """Read the tasks from the settings of a job in JSON form; an empty list if this version cannot read them."""
    try:
        return TypeAdapter(list[AnyTaskSettings]).validate_json(json.dumps(job["tasks"]))
    except (ValidationError, KeyError, TypeError):
        return []
