"""The settings of a training job, as read from a job file."""

from pipelines.training_job.objectives import (
    OBJECTIVES,
    AnswerSettings,
    CausalSettings,
    ChoiceSettings,
    DevSettings,
    HeadSettings,
    MaskedSettings,
    ObjectiveSettings,
    RankingSettings,
    SampledSettings,
    SequenceSettings,
    SplitSettings,
    TokenSettings,
    TranslatedSettings,
    TranslationSettings,
)
from pipelines.training_job.sections import (
    TrainedModelSettings,
    TrainingComputeSettings,
    TrainingOutputSettings,
    TrainingPolicySettings,
    TrainingSettings,
)
from pipelines.training_job.training_job import TRAINING_SECTIONS, TrainingJob, training_settings_at
from pipelines.training_job.vocabulary import (
    VOCABULARY_SECTIONS,
    VocabularyJob,
    VocabularySettings,
    vocabulary_settings_at,
)

__all__ = [
    "OBJECTIVES",
    "TRAINING_SECTIONS",
    "VOCABULARY_SECTIONS",
    "AnswerSettings",
    "CausalSettings",
    "ChoiceSettings",
    "DevSettings",
    "HeadSettings",
    "MaskedSettings",
    "ObjectiveSettings",
    "RankingSettings",
    "SampledSettings",
    "SequenceSettings",
    "SplitSettings",
    "TokenSettings",
    "TrainedModelSettings",
    "TrainingComputeSettings",
    "TrainingJob",
    "TrainingOutputSettings",
    "TrainingPolicySettings",
    "TrainingSettings",
    "TranslatedSettings",
    "TranslationSettings",
    "VocabularyJob",
    "VocabularySettings",
    "training_settings_at",
    "vocabulary_settings_at",
]
