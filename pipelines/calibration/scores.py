"""Scores of a head as functions of the temperature, from the logits of rows with gold labels.

They are computed as in a job: the softmax comes before the average over windows and subwords.

Letters: N rows, S sequences, T tokens, W words, C labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.decoding import aggregate_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding import Aggregation, Sequences


class Scored(NamedTuple):
    """Decisions, and the scores that they have at some temperature, [n] each.

    Attributes:
        gold: the probability of what is right.
        confidence: the score of what is predicted; of several labels, of each label.
        is_right: whether that is right.
    """

    gold: NDArray[np.floating]
    confidence: NDArray[np.floating]
    is_right: NDArray[np.bool_]


ScoresAt = Callable[[float], Scored]


def single_label(logits_SC: NDArray[np.float32], sequences: Sequences, gold_N: NDArray[np.int64]) -> ScoresAt:
    """Score one label for each row."""

    def at(temperature: float) -> Scored:
        return _best(sequences.mean_over_windows(_softmax(logits_SC, temperature)), gold_N)

    return at


def several_labels(logits_SC: NDArray[np.float32], sequences: Sequences, gold_NC: NDArray[np.bool_]) -> ScoresAt:
    """Score each label of each row; what is right is that a row has a label."""

    def at(temperature: float) -> Scored:
        with np.errstate(over="ignore"):
            scores_SC = 1 / (1 + np.exp(-logits_SC.astype(np.float64) / temperature))
        scores_NC = sequences.mean_over_windows(scores_SC)
        return Scored(np.where(gold_NC, scores_NC, 1 - scores_NC).ravel(), scores_NC.ravel(), gold_NC.ravel())

    return at


def choices(logits_S: NDArray[np.float32], sequences: Sequences, gold_N: NDArray[np.int64]) -> ScoresAt:
    """Score the choices of each row. `gold_N` counts from 0."""
    first, rows = sequences.row_offsets[:-1], sequences.row_ids

    def at(temperature: float) -> Scored:
        scaled = logits_S.astype(np.float64) / temperature
        exps = np.exp(scaled - np.maximum.reduceat(scaled, first)[rows])
        scores_S = exps / np.add.reduceat(exps, first)[rows]
        gold, best = scores_S[first + gold_N], np.maximum.reduceat(scores_S, first)
        return Scored(gold, best, gold == best)

    return at


def words(
    logits_TC: NDArray[np.float32],
    sequences: Sequences,
    texts: Sequence[list[str]],
    gold_W: NDArray[np.int64],
    pieces: Aggregation,
) -> ScoresAt:
    """Score one label for each given word that has tokens.

    Args:
        logits_TC: of all tokens.
        sequences: with word ids and offsets.
        texts: the words of each row.
        gold_W: the labels of all words.
        pieces: how a word of several subwords gets its scores.
    """
    from xlm_core.inference import find_words

    tokens, found = find_words(sequences, [" ".join(text) for text in texts])
    counts = np.array([len(text) for text in texts], np.int64)
    gold = gold_W[(np.cumsum(counts) - counts)[found.row] + found.number]

    def at(temperature: float) -> Scored:
        scores_TC = _softmax(logits_TC, temperature).astype(np.float32)
        return _best(aggregate_scores(scores_TC, tokens, found, pieces), gold)

    return at


def join(parts: Sequence[ScoresAt]) -> ScoresAt:
    """Score the decisions of several shards."""

    def at(temperature: float) -> Scored:
        return Scored(*(np.concatenate(values) for values in zip(*(part(temperature) for part in parts), strict=True)))

    return at


def _best(scores: NDArray[np.floating], gold: NDArray[np.int64]) -> Scored:
    row, best = np.arange(len(gold)), scores.argmax(1)
    return Scored(scores[row, gold], scores[row, best], best == gold)


def _softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    scaled = logits.astype(np.float64) / temperature
    exps = np.exp(scaled - scaled.max(1, keepdims=True))
    return exps / exps.sum(1, keepdims=True)
