"""The tasks of a job: what each takes from the trunk, and the columns it writes. One module a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.rows.text_columns import is_words
from pipelines.tasks.feature_extraction import Embedding
from pipelines.tasks.language_model import Generation, MaskFilling, Scoring
from pipelines.tasks.multiple_choice import Choice
from pipelines.tasks.question_answering import Answering
from pipelines.tasks.settings import (
    FeatureExtraction,
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TextGeneration,
    TokenClassification,
)
from pipelines.tasks.task import Model, Task
from pipelines.tasks.text_classification import Classification
from pipelines.tasks.token_classification import Tagging
from xlm_core import check_checkpoint
from xlm_core.checkpoint import contents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from pipelines.storage.options import StoreSettings
    from pipelines.tasks.task_spec import TaskSettings
    from xlm_core import XLMConfig
    from xlm_core.checkpoint.names import HeadKind

__all__ = ["Model", "Task", "make_task"]


def make_task(
    spec: TaskSettings, config: XLMConfig, head: Path, texts: list[pa.Field], stores: Sequence[StoreSettings] = ()
) -> Task:
    """Make a task from its settings, and check that its head is there, by names and shapes alone.

    Args:
        spec: the task as the job has it.
        config: the trunk's.
        head: directory with the task's head, which may be the checkpoint's.
        texts: the columns of text, as they are read.
        stores: options of the stores that other outputs lie in.

    Raises:
        FatalError: the head is missing, does not fit the trunk, or is of a kind this task cannot use.
    """

    def checked(kind: HeadKind) -> XLMConfig:
        return check_checkpoint(head, kind, head_only=True)

    match spec:
        case FeatureExtraction():
            return Embedding(spec, config, stores)
        case TextClassification():
            return Classification(spec, config, checked("sequence-classification"))
        case TokenClassification():
            return Tagging(spec, config, checked("token-classification"), texts[0])
        case QuestionAnswering():
            beam = "question-answering" in contents(head).heads
            kind = "question-answering" if beam else "question-answering-simple"
            return Answering(spec, config, checked(kind), texts[1], beam=beam)
        case MultipleChoice():
            if len(texts) == 2 and not is_words(texts[1].type):
                raise FatalError(
                    f"multiple-choice: {texts[1].name} is {texts[1].type}, one choice a row; name a column of lists, "
                    "or several columns of choices"
                )
            return Choice(spec, config, checked("multiple-choice"))
        case FillMask():
            return MaskFilling(spec, config, checked("language-modeling"))
        case LmScoring():
            return Scoring(spec, config, checked("language-modeling"))
        case TextGeneration():
            return Generation(spec, config, checked("language-modeling"))
        case _:
            raise AssertionError(f"no task {spec.kind}")
