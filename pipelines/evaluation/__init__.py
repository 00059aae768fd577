"""Measure the results of an output with gold labels: metrics, confidence intervals, paired tests, calibration."""

from pipelines.evaluation.evaluate import (
    Comparison,
    Difference,
    Evaluation,
    PairedScores,
    Scores,
    compare,
    evaluate,
)
from pipelines.evaluation.gold import Gold, GoldRows
from pipelines.evaluation.label_scores import LabelScores, label_scores, most_confused
from pipelines.evaluation.measures import Confusion, Metric
from pipelines.evaluation.reliability import NUM_BINS, Reliability, measure_reliability
from pipelines.evaluation.resampling import Estimate
from pipelines.evaluation.scored_output import GoldOptions, ScoredOutput, read_scored_output

__all__ = [
    "NUM_BINS",
    "Comparison",
    "Confusion",
    "Difference",
    "Estimate",
    "Evaluation",
    "Gold",
    "GoldOptions",
    "GoldRows",
    "LabelScores",
    "Metric",
    "PairedScores",
    "Reliability",
    "ScoredOutput",
    "Scores",
    "compare",
    "evaluate",
    "label_scores",
    "measure_reliability",
    "most_confused",
    "read_scored_output",
]
