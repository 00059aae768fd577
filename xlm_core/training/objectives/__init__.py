"""Training objectives: what the trunk and its heads learn to predict."""

from xlm_core.training.objectives.classification import MultipleChoice, SequenceClassification, TokenClassification
from xlm_core.training.objectives.language_modeling import (
    CausalLanguageModeling,
    MaskedLanguageModeling,
    TranslationLanguageModeling,
)
from xlm_core.training.objectives.objective import Objective, Scores, TrainingBatch
from xlm_core.training.objectives.question_answering import QuestionAnswering
from xlm_core.training.objectives.translation_ranking import TranslationRanking

__all__ = [
    "CausalLanguageModeling",
    "MaskedLanguageModeling",
    "MultipleChoice",
    "Objective",
    "QuestionAnswering",
    "Scores",
    "SequenceClassification",
    "TokenClassification",
    "TrainingBatch",
    "TranslationLanguageModeling",
    "TranslationRanking",
]
