"""Heads: modules that turn the trunk's hidden states into scores, with their losses and poolings."""

from xlm_core.heads.classification import SequenceClassificationHead, TokenClassificationHead
from xlm_core.heads.head import Head, ScoringHead, TokenHead
from xlm_core.heads.language_modeling import NO_LABEL, FullSoftmax, LanguageModelHead
from xlm_core.heads.multiple_choice import MultipleChoiceHead
from xlm_core.heads.pooling import POOLINGS, Pooling, SequenceSummary
from xlm_core.heads.question_answering_beam import BeamAnswers, QuestionAnsweringHead
from xlm_core.heads.question_answering_simple import QuestionAnsweringSimpleHead

__all__ = [
    "NO_LABEL",
    "POOLINGS",
    "BeamAnswers",
    "FullSoftmax",
    "Head",
    "LanguageModelHead",
    "MultipleChoiceHead",
    "Pooling",
    "QuestionAnsweringHead",
    "QuestionAnsweringSimpleHead",
    "ScoringHead",
    "SequenceClassificationHead",
    "SequenceSummary",
    "TokenClassificationHead",
    "TokenHead",
]
