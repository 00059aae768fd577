"""The registry of tasks: a new kind of task is a new module and an entry here."""

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipelines.settings import union_of_kinds
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


if TYPE_CHECKING:
    AnyTaskSettings = TaskSettings
else:
    AnyTaskSettings = union_of_kinds(TASKS, "TASK")


def parse_tasks(job: Any) -> list[TaskSettings]:
    """Read the tasks from the settings of a job in JSON form; an empty list if this version cannot read them."""
    try:
        return TypeAdapter(list[AnyTaskSettings]).validate_json(json.dumps(job["tasks"]))
    except (ValidationError, KeyError, TypeError):
        return []
