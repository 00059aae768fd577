"""Heads over the trunk's hidden states, and the XLMFor… classes: a trunk and a head with the padded interface."""

from xlm_core.heads.classification import (
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMForSequenceClassification,
    XLMForTokenClassification,
)
from xlm_core.heads.language_modeling import LanguageModelHead, XLMWithLMHeadModel
from xlm_core.heads.multiple_choice import MultipleChoiceHead, XLMForMultipleChoice
from xlm_core.heads.pooling import POOLINGS, Pooling, SequenceSummary
from xlm_core.heads.question_answering_beam import BeamAnswers, QuestionAnsweringHead, XLMForQuestionAnswering
from xlm_core.heads.question_answering_simple import QuestionAnsweringSimpleHead, XLMForQuestionAnsweringSimple

__all__ = [
    "POOLINGS",
    "BeamAnswers",
    "LanguageModelHead",
    "MultipleChoiceHead",
    "Pooling",
    "QuestionAnsweringHead",
    "QuestionAnsweringSimpleHead",
    "SequenceClassificationHead",
    "SequenceSummary",
    "TokenClassificationHead",
    "XLMForMultipleChoice",
    "XLMForQuestionAnswering",
    "XLMForQuestionAnsweringSimple",
    "XLMForSequenceClassification",
    "XLMForTokenClassification",
    "XLMWithLMHeadModel",
]
