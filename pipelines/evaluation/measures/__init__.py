"""One measure for each kind of result: what it collects of each row, and its metrics."""

from pipelines.evaluation.measures.labels import LabelNumbers
from pipelines.evaluation.measures.measure import Confidences, Confusion, Measure, Metric, mean_of_defined, ratio
from pipelines.evaluation.measures.registry import build_measure, has_measure

__all__ = [
    "Confidences",
    "Confusion",
    "LabelNumbers",
    "Measure",
    "Metric",
    "build_measure",
    "has_measure",
    "mean_of_defined",
    "ratio",
]
