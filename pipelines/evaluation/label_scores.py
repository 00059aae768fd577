"""Precision, recall and F1 of each label, and what it is confused with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.evaluation.measures import ratio

if TYPE_CHECKING:
    from pipelines.evaluation.measures import Confusion


class LabelScores(NamedTuple):
    """How well one label is predicted.

    Attributes:
        name: the label.
        gold: how often it is the gold label.
        predicted: how often it was predicted.
        precision, recall, f1: NaN if they are not defined.
    """

    name: str
    gold: int
    predicted: int
    precision: float
    recall: float
    f1: float


def label_scores(confusion: Confusion) -> list[LabelScores]:
    """Return the scores of each label that is predicted or gold, in the order of the labels."""
    counts = confusion.counts.astype(np.float64)
    right, gold, predicted = np.diag(counts), counts.sum(1), counts[:, :-1].sum(0)
    parts = (ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold))
    columns = (gold.astype(int), predicted.astype(int), *parts)
    rows = zip(confusion.labels, *(column.tolist() for column in columns), strict=True)
    return [scores for scores in (LabelScores(*row) for row in rows) if scores.gold or scores.predicted]


def most_confused(confusion: Confusion, label: str) -> list[tuple[str | None, int]]:
    """Return the labels that are predicted instead of a label, and how often, the most frequent first; None is none."""
    row = confusion.labels.index(label)
    names = [*confusion.labels, None]
    counts = confusion.counts[row].tolist()
    wrong = [(name, count) for i, (name, count) in enumerate(zip(names, counts, strict=True)) if count and i != row]
    return sorted(wrong, key=lambda item: -item[1])
