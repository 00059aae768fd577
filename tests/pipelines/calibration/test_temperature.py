"""The fitted temperature is the one by which labels were drawn, for every kind of head."""

import numpy as np
import pytest

from pipelines.calibration.scores import choices, join, several_labels, single_label, words
from pipelines.calibration.temperature import fit_temperature, is_at_limit, log_loss
from xlm_core.decoding import Sequences
from xlm_core.ragged import cumulative_lengths

KINDS = ["single", "several", "choices", "words"]


def sequences_of(row_offsets, lengths):
    """Return sequences without content; the tokens of a row are words of their own, between two special tokens."""
    num_tokens = int(sum(lengths))
    ends = np.cumsum(lengths)
    word_ids = np.concatenate([[-1, *range(n - 2), -1] for n in lengths]).astype(np.int32)
    offsets = np.stack([np.maximum(word_ids, 0) * 2, np.maximum(word_ids, 0) * 2 + 1], 1).astype(np.int32)
    return Sequences(
        np.zeros(num_tokens, np.int32),
        np.concatenate([[0], ends]).astype(np.int32),
        np.zeros(len(lengths), np.int32),
        np.asarray(row_offsets, np.int32),
        np.zeros(len(lengths), np.int32),
        word_ids,
        offsets,
    )


def draw(rng, logits, temperature):
    """Draw a label for each row of logits."""
    scaled = logits / temperature
    return (scaled + rng.gumbel(size=scaled.shape)).argmax(1)


def build(kind, temperature, rng):
    """Return scores whose gold labels were drawn at a temperature."""
    logits = rng.normal(0, 2, (4000, 5)).astype(np.float32)
    if kind == "single":
        return single_label(logits, sequences_of(range(4001), [3] * 4000), draw(rng, logits, temperature))
    if kind == "several":
        gold = rng.random(logits.shape) < 1 / (1 + np.exp(-logits / temperature))
        return several_labels(logits, sequences_of(range(4001), [3] * 4000), gold)
    if kind == "choices":
        flat, offsets = logits.reshape(-1), np.arange(4001) * 5
        return choices(flat, sequences_of(offsets, [3] * 20_000), draw(rng, logits, temperature))
    lengths = [6] * 1000  # four words, and the special tokens
    logits_TC = rng.normal(0, 2, (6000, 5)).astype(np.float32)
    is_word = np.tile([False, True, True, True, True, False], 1000)
    gold = draw(rng, logits_TC[is_word], temperature)
    return words(logits_TC, sequences_of(range(1001), lengths), [list("abcd")] * 1000, gold, "first")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_temperature_of_drawn_labels_is_found(kind, temperature):
    scores_at = build(kind, temperature, np.random.default_rng(0))
    found = fit_temperature(scores_at)
    assert found == pytest.approx(temperature, rel=0.1)
    assert log_loss(scores_at(found)) <= min(log_loss(scores_at(t)) for t in (0.9 * found, 1.1 * found, 1.0))
    assert not is_at_limit(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_temperature_changes_scores_but_not_what_is_right(kind):
    scores_at = build(kind, 2.0, np.random.default_rng(1))
    one, two = scores_at(1.0), scores_at(2.0)
    assert (one.is_right == two.is_right).all()
    assert not np.allclose(one.confidence, two.confidence)


def test_shards_are_joined():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (300, 4)).astype(np.float32)
    gold = draw(rng, logits, 2.0)
    whole = single_label(logits, sequences_of(range(301), [3] * 300), gold)
    parts = [
        single_label(logits[some], sequences_of(range(101), [3] * 100), gold[some])
        for some in (slice(0, 100), slice(100, 200), slice(200, 300))
    ]
    assert fit_temperature(join(parts)) == fit_temperature(whole)


def test_scores_of_windows_are_averaged_as_in_a_job():
    logits = np.array([[2.0, 0], [0, 1.0], [3.0, 0]], np.float32)
    lengths = [3, 6, 4]
    scored = single_label(logits, sequences_of([0, 2, 3], lengths), np.array([0, 0]))(2.0)
    first, second = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(0.5))
    expected = [(3 * first + 6 * second) / 9, 1 / (1 + np.exp(-1.5))]
    assert scored.gold.tolist() == pytest.approx(expected)
    assert cumulative_lengths(np.array(lengths)).tolist() == [0, 3, 9, 13]


def test_labels_that_are_always_right_have_no_best_temperature():
    logits = np.eye(3, dtype=np.float32)
    assert is_at_limit(fit_temperature(single_label(logits, sequences_of(range(4), [3] * 3), np.arange(3))))
