"""The measure of each task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipelines.evaluation.measures.answers import AnswerMatch
from pipelines.evaluation.measures.classification import MultiLabel, SingleLabel
from pipelines.evaluation.measures.entities import EntitySpans
from pipelines.evaluation.measures.retrieval import Retrieval
from pipelines.evaluation.measures.row_values import ChoiceAccuracy, Perplexity, Regression
from pipelines.evaluation.measures.words import WordLabels
from pipelines.tasks import (
    FeatureExtraction,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TokenClassification,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.evaluation.measures.measure import Measure
    from pipelines.tasks import TaskSettings

_CLASSIFICATION = {"single-label": SingleLabel, "multi-label": MultiLabel, "regression": Regression}


def has_measure(task: TaskSettings) -> bool:
    """Return whether the results of a task can be measured."""
    return _find(task) is not None


def build_measure(task: TaskSettings, schema: pa.Schema) -> Measure:
    """Return the measure of a task that has one; `schema` is that of the output."""
    measure = _find(task)
    assert measure is not None
    return measure(task, schema)


def _find(task: TaskSettings) -> Callable[[Any, pa.Schema], Measure] | None:
    match task:
        case TextClassification():
            return cast("Any", _CLASSIFICATION[task.problem])
        case TokenClassification():
            return WordLabels if task.aggregate == "word" else EntitySpans
        case QuestionAnswering():
            return AnswerMatch
        case MultipleChoice():
            return ChoiceAccuracy
        case FeatureExtraction():
            return Retrieval
        case LmScoring():
            return Perplexity
        case _:
            return None
