"""Draws that depend only on the text, and sampling from a distribution."""

import numpy as np
import torch

from xlm_core.generation.sampling import sample, text_draws


def test_samples_follow_the_distribution():
    """Pearson's chi-squared test over the first draws of many texts; the seed is fixed, so the result never changes."""
    probs_V = torch.tensor([0.4, 0.25, 0.0, 0.2, 0.1, 0.05])
    num_texts = 20_000
    draws = np.array([text_draws(0, -1, np.array([number]), 1)[0] for number in range(num_texts)])
    assert 0 <= draws.min() < 0.001
    assert 0.999 < draws.max() < 1
    scores_BV = (probs_V.log() + 3.0).expand(num_texts, -1)
    counts = np.bincount(sample(scores_BV, torch.from_numpy(draws)).numpy(), minlength=6)
    expected = probs_V.numpy() * num_texts
    assert counts[2] == 0
    likely = expected > 0
    assert ((counts - expected)[likely] ** 2 / expected[likely]).sum() < 14.9  # 4 degrees of freedom, 99.5 %


def test_draws_depend_on_seed_language_and_text_and_are_uncorrelated():
    text = np.array([3, 4])
    draws = text_draws(0, 1, text, 20_000)
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03
    assert np.array_equal(text_draws(0, 1, text.astype(np.int32), 10), draws[:10])  # for ids of any width
    for other in (text_draws(1, 1, text, 20_000), text_draws(0, 2, text, 20_000), text_draws(0, 1, text[::-1], 20_000)):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.03


def test_smallest_and_largest_draw_select_a_possible_token():
    scores_BV = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]]).expand(2, -1)
    draws_B = torch.tensor([0.0, 1 - 2.0**-52], dtype=torch.float64)
    assert sample(scores_BV, draws_B).tolist() == [1, 2]
