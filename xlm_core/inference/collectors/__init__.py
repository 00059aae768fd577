"""Collectors: from forward passes to results. One module per task; results are NumPy arrays and strings."""

from xlm_core.inference.collectors.answering import FoundAnswers, answer_collector
from xlm_core.inference.collectors.choosing import ChoiceCollector, Choices
from xlm_core.inference.collectors.classification import ClassificationCollector, rank_labels
from xlm_core.inference.collectors.continuing import ContinuationCollector, Sampling
from xlm_core.inference.collectors.embedding import EmbeddingCollector
from xlm_core.inference.collectors.filling import FilledMasks, MaskCollector
from xlm_core.inference.collectors.logits import LogitCollector
from xlm_core.inference.collectors.scoring import ScoreCollector, TextScores
from xlm_core.inference.collectors.tagging import LabelledSpans, TaggingCollector, find_words

__all__ = [
    "ChoiceCollector",
    "Choices",
    "ClassificationCollector",
    "ContinuationCollector",
    "EmbeddingCollector",
    "FilledMasks",
    "FoundAnswers",
    "LabelledSpans",
    "LogitCollector",
    "MaskCollector",
    "Sampling",
    "ScoreCollector",
    "TaggingCollector",
    "TextScores",
    "answer_collector",
    "find_words",
    "rank_labels",
]
