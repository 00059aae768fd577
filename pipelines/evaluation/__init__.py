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
from pipelines.evaluation.gold_labels import choose_column, read_labels
from pipelines.evaluation.label_scores import LabelScores, label_scores, most_confused
from pipelines.evaluation.measures import Confusion, LabelNumbers, Metric, build_measure
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
    "LabelNumbers",
    "LabelScores",
    "Metric",
    "PairedScores",
    "Reliability",
    "ScoredOutput",
    "Scores",
    "build_measure",
    "choose_column",
    "compare",
    "evaluate",
    "label_scores",
    "measure_reliability",
    "most_confused",
    "read_labels",
    "read_scored_output",
]
