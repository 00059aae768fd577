"""Evaluations as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from jobs.console import make_table
from pipelines.evaluation import NUM_BINS, label_scores, most_confused
from pipelines.formatting import excerpt, format_count, format_percent, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from pipelines.evaluation import (
        Comparison,
        Confusion,
        Estimate,
        Evaluation,
        Metric,
        PairedScores,
        Reliability,
        Scores,
    )

_MAX_LANGS = 40  # rows of a table
_MAX_LABELS = 30
_MAX_CONFUSED = 3  # labels that a label is most often confused with
_MAX_CHARS = 24  # of a label or language
_SIGNIFICANT = 0.05


def evaluation_tables(evaluation: Evaluation, gold: str | None) -> Iterator[RenderableType]:
    """Yield what is printed of an evaluation: a heading, and tables of languages, labels and scores."""
    scored = evaluation.scored
    compared = f" and {one_line(scored.gold_column)} of {one_line(gold)}" if gold and scored.gold_column else ""
    yield Text.assemble((one_line(scored.url), "bold"), f"  {', '.join(map(one_line, scored.columns))}{compared}")
    if missing := scored.coverage.describe():
        yield Text(f"left out: {missing}", "yellow")
    if scored.doubt:
        yield Text(one_line(scored.doubt), "yellow")
    yield Text()
    yield _metrics_table(evaluation)
    if len(evaluation.langs) > _MAX_LANGS:
        yield Text(f"… and {format_count(len(evaluation.langs) - _MAX_LANGS, 'more language')}; --json has all", "dim")
    if evaluation.confusion is not None:
        yield Text()
        yield from _labels_table(evaluation.confusion)
    if evaluation.reliability is not None:
        yield Text()
        yield Text.assemble(("scores as probabilities", "bold"), f"  ECE {evaluation.reliability.ece:.3f}")
        yield _reliability_table(evaluation.reliability)
    yield Text("in brackets: 95 % confidence intervals", "dim")


def _metrics_table(evaluation: Evaluation) -> RenderableType:
    metrics, items = evaluation.scored.measure.metrics, evaluation.scored.measure.items
    has_scores = evaluation.total.ece is not None
    columns = ["rows", *([items] if items else []), *(metric.name for metric in metrics), *(["ECE"] * has_scores)]
    table = make_table("lang", columns)

    def add(name: str, scores: Scores) -> None:
        counts = [f"{scores.rows:,}", *([f"{scores.items or 0:,}"] if items else [])]
        ece = [f"{scores.ece:.3f}"] if scores.ece is not None else []
        cells = [_format_estimate(*pair) for pair in zip(metrics, scores.metrics, strict=True)]
        table.add_row(Text(excerpt(name, _MAX_CHARS)), *counts, *cells, *ece)

    add("all", evaluation.total)
    if evaluation.mean is not None:
        add("mean of langs", evaluation.mean)
    for lang, scores in list(evaluation.langs.items())[:_MAX_LANGS]:
        add(lang, scores)
    return table


def _labels_table(confusion: Confusion) -> Iterator[RenderableType]:
    table = make_table("label", ["gold", "precision", "recall", "F1"], ["most often predicted instead"])
    scores = sorted(label_scores(confusion), key=lambda label: -label.gold)
    for label in scores[:_MAX_LABELS]:
        confused = ", ".join(
            f"{'no label' if name is None else excerpt(name, _MAX_CHARS)} {format_percent(count, label.gold)}"
            for name, count in most_confused(confusion, label.name)[:_MAX_CONFUSED]
        )
        cells = [_format_value(value) for value in (label.precision, label.recall, label.f1)]
        table.add_row(Text(excerpt(label.name, _MAX_CHARS)), f"{label.gold:,}", *cells, Text(confused))
    yield table
    if len(scores) > _MAX_LABELS:
        yield Text(f"… and {format_count(len(scores) - _MAX_LABELS, 'more label')}; --json has all", "dim")


def _reliability_table(reliability: Reliability) -> RenderableType:
    table = make_table("score", ["number", "mean score", "right"])
    for i, (count, confidence, accuracy) in enumerate(zip(*(part.tolist() for part in reliability), strict=True)):
        if count:
            bounds = f"{i / NUM_BINS:.2f} to {(i + 1) / NUM_BINS:.2f}"
            table.add_row(bounds, f"{count:,}", _format_value(confidence), _format_value(accuracy))
    return table


def comparison_tables(comparison: Comparison, url: str, metrics: Sequence[Metric]) -> Iterator[RenderableType]:
    """Yield what is printed of a comparison: for each metric, both values and their difference by language."""
    yield Text()
    rows = format_count(comparison.total.rows, "row")
    yield Text.assemble((f"B  {one_line(url)}", "bold"), f"  {rows} in both")
    if comparison.only_a or comparison.only_b:
        yield Text(f"left out: {comparison.only_a:,} rows only in A, {comparison.only_b:,} only in B", "yellow")
    for i, metric in enumerate(metrics):
        has_mcnemar = i == 0 and comparison.total.mcnemar is not None
        yield Text()
        yield Text(metric.name, "bold cyan")
        columns = ["rows", "A", "B", "B - A", "p (bootstrap)", *(["p (McNemar)"] * has_mcnemar)]
        table = make_table("lang", columns)
        parts = [("all", comparison.total), *list(comparison.langs.items())[:_MAX_LANGS]]
        for lang, scores in parts:
            cells = _difference_cells(metric, scores, i)
            p_mcnemar = [_format_p(scores.mcnemar)] if has_mcnemar and scores.mcnemar is not None else []
            table.add_row(Text(excerpt(lang, _MAX_CHARS)), f"{scores.rows:,}", *cells, *p_mcnemar)
        yield table


def _difference_cells(metric: Metric, scores: PairedScores, i: int) -> list[Text | str]:
    found = scores.metrics[i]
    is_share = metric.is_share
    values = [_format_value(value, is_share) for value in (found.a, found.b)]
    return [*values, _format_estimate(metric, found.difference, sign="+"), _format_p(found.p_value)]


def _format_p(p_value: float) -> Text:
    if math.isnan(p_value):
        return Text("")
    shown = "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
    return Text(shown, "bold" if p_value < _SIGNIFICANT else "")


def _format_estimate(metric: Metric, estimate: Estimate, sign: str = "") -> Text:
    value, low, high = (_format_value(part, metric.is_share, sign) for part in estimate)
    return Text.assemble(value, (f" [{low}, {high}]" if low else "", "dim"))


def _format_value(value: float, is_share: bool = True, sign: str = "") -> str:
    """Format a share in percent, or a number with four digits; empty if it is not defined."""
    if math.isnan(value):
        return ""
    return format(100 * value, f"{sign}.1f") if is_share else format(value, f"{sign}.4g")
