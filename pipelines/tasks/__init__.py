"""The tasks of a job. Each module defines one kind of task completely; registry.py lists them."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.tasks.feature_extraction import FeatureExtraction
    from pipelines.tasks.language_modeling import FillMask, LmScoring, TextGeneration
    from pipelines.tasks.multiple_choice import MultipleChoice
    from pipelines.tasks.question_answering import QuestionAnswering
    from pipelines.tasks.registry import TASKS, AnyTaskSettings, parse_tasks
    from pipelines.tasks.task import TRAINED_LANGS, Task, TaskSettings
    from pipelines.tasks.text_classification import TextClassification
    from pipelines.tasks.token_classification import TokenClassification

__all__ = [
    "TASKS",
    "TRAINED_LANGS",
    "AnyTaskSettings",
    "FeatureExtraction",
    "FillMask",
    "LmScoring",
    "MultipleChoice",
    "QuestionAnswering",
    "Task",
    "TaskSettings",
    "TextClassification",
    "TextGeneration",
    "TokenClassification",
    "parse_tasks",
]

_MODULES = {  # the module of each name
    "AnyTaskSettings": "registry",
    "FeatureExtraction": "feature_extraction",
    "FillMask": "language_modeling",
    "LmScoring": "language_modeling",
    "MultipleChoice": "multiple_choice",
    "QuestionAnswering": "question_answering",
    "TASKS": "registry",
    "TRAINED_LANGS": "task",
    "Task": "task",
    "TaskSettings": "task",
    "TextClassification": "text_classification",
    "TextGeneration": "language_modeling",
    "TokenClassification": "token_classification",
    "parse_tasks": "registry",
}

__getattr__ = lazy_names(__name__, _MODULES)
