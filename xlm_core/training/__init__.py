"""Training: objectives, samplers, and the steps that update the weights. It does not depend on Ray."""

from xlm_core.training.bpe_dropout import BpeDropout, find_parts
from xlm_core.training.examples import Examples
from xlm_core.training.frozen import freeze
from xlm_core.training.masking import Masking
from xlm_core.training.model import LM_HEAD, TrainingModel
from xlm_core.training.objectives import (
    CausalLanguageModeling,
    MaskedLanguageModeling,
    MultipleChoice,
    Objective,
    QuestionAnswering,
    Scores,
    SequenceClassification,
    TokenClassification,
    TrainingBatch,
    TranslationLanguageModeling,
    TranslationRanking,
)
from xlm_core.training.samplers import RowSampler, Sampler, StreamSampler, group_by_lang
from xlm_core.training.schedule import Decay, Schedule
from xlm_core.training.state import encode_state, read_values, restore_state
from xlm_core.training.trainer import Evaluation, StepResult, TrainedObjective, Trainer, TrainerSettings
from xlm_core.training.workers import num_workers, sum_over_workers, worker_index

__all__ = [
    "LM_HEAD",
    "BpeDropout",
    "CausalLanguageModeling",
    "Decay",
    "Evaluation",
    "Examples",
    "MaskedLanguageModeling",
    "Masking",
    "MultipleChoice",
    "Objective",
    "QuestionAnswering",
    "RowSampler",
    "Sampler",
    "Schedule",
    "Scores",
    "SequenceClassification",
    "StepResult",
    "StreamSampler",
    "TokenClassification",
    "TrainedObjective",
    "Trainer",
    "TrainerSettings",
    "TrainingBatch",
    "TrainingModel",
    "TranslationLanguageModeling",
    "TranslationRanking",
    "encode_state",
    "find_parts",
    "freeze",
    "group_by_lang",
    "num_workers",
    "read_values",
    "restore_state",
    "sum_over_workers",
    "worker_index",
]
