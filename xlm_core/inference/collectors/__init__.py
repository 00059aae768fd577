"""Collectors: from forward passes to results. One module per task; results are NumPy arrays and strings."""

from xlm_core.inference.collectors.answering import FoundAnswers, answer_collector, check_answering
from xlm_core.inference.collectors.choosing import ChoiceCollector, Choices
from xlm_core.inference.collectors.classification import (
    ClassificationCollector,
    Problem,
    check_classification,
    rank_labels,
    trained_problem,
)
from xlm_core.inference.collectors.continuing import ContinuationCollector, Sampling, check_causal
from xlm_core.inference.collectors.embedding import EmbeddingCollector, PoolingName, check_embedding
from xlm_core.inference.collectors.filling import FilledMasks, MaskCollector, check_masked
from xlm_core.inference.collectors.scoring import ScoreCollector, TextScores
from xlm_core.inference.collectors.tagging import LabelledSpans, TaggingCollector, read_label_scheme

__all__ = [
    "ChoiceCollector",
    "Choices",
    "ClassificationCollector",
    "ContinuationCollector",
    "EmbeddingCollector",
    "FilledMasks",
    "FoundAnswers",
    "LabelledSpans",
    "MaskCollector",
    "PoolingName",
    "Problem",
    "Sampling",
    "ScoreCollector",
    "TaggingCollector",
    "TextScores",
    "answer_collector",
    "check_answering",
    "check_causal",
    "check_classification",
    "check_embedding",
    "check_masked",
    "rank_labels",
    "read_label_scheme",
    "trained_problem",
]
