"""Evaluations as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.evaluation import label_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation import Comparison, Evaluation, Metric, PairedScores, Scores


def evaluation_to_json(evaluation: Evaluation, gold: str | None) -> dict[str, Any]:
    """Return an evaluation with the counts of all languages, labels and bins."""
    scored, metrics = evaluation.scored, evaluation.scored.measure.metrics
    confusion, reliability = evaluation.confusion, evaluation.reliability
    return {
        "output": scored.url,
        "task": scored.task.kind,
        "columns": scored.columns,
        "gold": gold,
        "gold_column": scored.gold_column,
        "coverage": asdict(scored.coverage),
        "note": scored.doubt,
        "all": _scores_to_json(evaluation.total, metrics),
        "mean_of_langs": None if evaluation.mean is None else _scores_to_json(evaluation.mean, metrics),
        "langs": {lang: _scores_to_json(scores, metrics) for lang, scores in evaluation.langs.items()},
        "labels": [label._asdict() for label in label_scores(confusion)] if confusion else None,
        "confusion": confusion and {"labels": confusion.labels, "counts": confusion.counts.tolist()},
        "reliability": reliability and {name: part.tolist() for name, part in reliability._asdict().items()},
    }


def comparison_to_json(comparison: Comparison, url: str, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the differences between two outputs."""
    return {
        "output": url,
        "rows_only_a": comparison.only_a,
        "rows_only_b": comparison.only_b,
        "all": _paired_to_json(comparison.total, metrics),
        "langs": {lang: _paired_to_json(scores, metrics) for lang, scores in comparison.langs.items()},
    }


def _scores_to_json(scores: Scores, metrics: Sequence[Metric]) -> dict[str, Any]:
    estimates = zip(metrics, scores.metrics, strict=True)
    return {
        "rows": scores.rows,
        "items": scores.items,
        "metrics": {metric.name: estimate._asdict() for metric, estimate in estimates},
        "ece": scores.ece,
    }


def _paired_to_json(scores: PairedScores, metrics: Sequence[Metric]) -> dict[str, Any]:
    differences = zip(metrics, scores.metrics, strict=True)
    return {
        "rows": scores.rows,
        "metrics": {
            metric.name: found._asdict() | {"difference": found.difference._asdict()} for metric, found in differences
        },
        "mcnemar_p_value": scores.mcnemar,
    }
