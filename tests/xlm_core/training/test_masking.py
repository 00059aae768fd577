"""Which tokens are masked, how often, and by what they are replaced."""

import numpy as np
import pytest

from tests.xlm_core.training.small_training import MASK, NUM_SPECIAL, WORDS
from xlm_core.training import Masking

NUM_TOKENS = 40_000


def words(num_tokens=NUM_TOKENS):
    return np.random.default_rng(0).integers(0, WORDS, num_tokens).astype(np.int32)


def apply(ids, seed=1, counts=None, share=0.15, exponent=0.5):
    counts = np.ones(WORDS, np.int64) if counts is None else counts
    masking = Masking.from_counts(counts, range(NUM_SPECIAL), MASK, share, exponent)
    return masking.apply(ids, np.random.default_rng(seed))


def test_15_percent_are_predicted_and_80_10_10_are_replaced():
    ids = words()
    seen, targets = apply(ids)
    predicted = targets != -100
    assert predicted.sum() == np.ceil(0.15 * NUM_TOKENS)
    np.testing.assert_array_equal(targets[predicted], ids[predicted])
    np.testing.assert_array_equal(seen[~predicted], ids[~predicted])
    is_masked = seen[predicted] == MASK
    is_same = seen[predicted] == ids[predicted]
    is_random = ~is_masked & ~is_same
    # 6,000 tokens: a standard deviation of 0.5 %; one in 110 random tokens is the original one
    assert is_masked.mean() == pytest.approx(0.8, abs=0.02)
    assert is_same.mean() == pytest.approx(0.1 + 0.1 / (WORDS - NUM_SPECIAL), abs=0.015)
    assert is_random.mean() == pytest.approx(0.1, abs=0.015)
    assert set(seen[predicted][is_random]) <= set(range(NUM_SPECIAL, WORDS))
    assert len(set(seen[predicted][is_random])) > 90


def test_special_tokens_are_never_predicted():
    ids = words()
    _, targets = apply(ids)
    assert (ids < NUM_SPECIAL).sum() > 3_000
    assert targets[targets != -100].min() >= NUM_SPECIAL


def test_tokens_are_sampled_against_their_frequency():
    """A token with 100 times the count is predicted a tenth as often, with the exponent of the paper."""
    rng = np.random.default_rng(0)
    frequent, rare = np.arange(20, 40), np.arange(60, 80)
    counts = np.ones(WORDS, np.int64)
    counts[frequent] = 100
    ids = np.concatenate([rng.choice(frequent, 20_000), rng.choice(rare, 20_000)]).astype(np.int32)
    for exponent, ratio in ((0.5, 10.0), (0.0, 1.0), (0.25, 10**0.5)):
        _, targets = apply(ids, counts=counts, share=0.02, exponent=exponent)
        num_frequent, num_rare = np.isin(targets, frequent).sum(), np.isin(targets, rare).sum()
        assert num_rare / num_frequent == pytest.approx(ratio, rel=0.35)


def test_result_depends_only_on_the_seed():
    ids = words(1_000)
    for one, other in zip(apply(ids, 1), apply(ids, 1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(apply(ids, 1)[1], apply(ids, 2)[1])
    np.testing.assert_array_equal(ids, words(1_000))


@pytest.mark.parametrize("ids", [[0, 1], [0, 50, 1], [50], []])
def test_few_tokens(ids):
    ids = np.array(ids, np.int32)
    seen, targets = apply(ids)
    assert len(seen) == len(targets) == len(ids)
    assert (targets != -100).sum() == (50 in ids)
    everything = apply(words(100), share=1.0)[1]
    assert (everything != -100).sum() == (words(100) >= NUM_SPECIAL).sum()
