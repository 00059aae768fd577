"""Confidence intervals, paired tests and calibration have the properties that define them."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.evaluation import GoldOptions, compare, measure_reliability, read_scored_output
from pipelines.evaluation.resampling import Entries, estimates, mcnemar_p_value, resample, sum_groups
from tests.pipelines.evaluation.outputs import labelled, random_ids, write_gold, write_output

LABEL = [labelled("label", pa.string(), ["a", "b"]), pa.field("score", pa.float32())]


def interval(values):
    """Return the interval of the mean of values."""
    rows = np.arange(len(values))
    entries = Entries(np.tile(rows, 2), np.repeat([0, 1], len(rows)), np.concatenate([values, np.ones(len(rows))]))
    sums = sum_groups(entries, np.random.default_rng(1).permutation(len(rows)).astype(np.uint64), 2)
    mean = sums.sum(0)[:1] / sums.sum(0)[1:]
    drawn = resample(sums, "all")
    return estimates(mean, drawn[:, :1] / drawn[:, 1:])[0]


@pytest.mark.parametrize("number", [400, 20_000])
def test_the_interval_of_a_mean_is_that_of_the_normal_distribution(number):
    values = (np.random.default_rng(0).random(number) < 0.3).astype(np.float64)
    found = interval(values)
    half = 1.96 * values.std() / np.sqrt(number)
    assert found.value == values.mean()
    assert (found.value - found.low, found.high - found.value) == pytest.approx((half, half), rel=0.12)


def test_intervals_contain_the_true_value_in_about_95_of_100_cases():
    rng = np.random.default_rng(3)
    hits = [found.low <= 0.6 <= found.high for found in (interval(rng.random(200) < 0.6) for _ in range(200))]
    assert 0.90 <= np.mean(hits) <= 0.99


def test_mcnemar_equals_the_binomial_test():
    stats = pytest.importorskip("scipy.stats")
    for a, b in ((0, 0), (3, 9), (10, 10), (0, 5), (700, 800)):
        expected = stats.binomtest(min(a, b), a + b, 0.5).pvalue if a + b else 1.0
        assert mcnemar_p_value(a, b) == pytest.approx(expected)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Write gold labels, and return a function that reads an output which has some share of them right."""
    folder, rng = tmp_path_factory.mktemp("compared"), np.random.default_rng(0)
    ids, gold, chance = random_ids(rng, 600), rng.integers(0, 2, 600), rng.random(600)
    url = write_gold(folder, [{"id": i, "label": "ab"[g]} for i, g in zip(ids, gold, strict=True)])

    def read(share, order=1):
        labels = np.where(chance < share, gold, 1 - gold)
        columns = list(zip(ids, labels, chance, strict=True))[::order]
        rows = [{"id": i, "lang": "de" if c < 0.5 else "en", "label": "ab"[x], "score": 0.5} for i, x, c in columns]
        return read_scored_output(write_output(folder, "text-classification", rows, LABEL), GoldOptions(url))

    return read


def test_equal_outputs_do_not_differ(outputs):
    found = compare(outputs(0.7), outputs(0.7, order=-1))
    for scores in (found.total, *found.langs.values()):
        assert scores.mcnemar == 1
        assert [(m.difference, m.p_value) for m in scores.metrics] == [((0, 0, 0), 1)] * 2


def test_a_better_output_is_better(outputs):
    found = compare(outputs(0.7), outputs(0.8)).total
    assert found.metrics[0].b - found.metrics[0].a == found.metrics[0].difference.value > 0.05
    assert found.metrics[0].difference.low > 0
    assert found.metrics[0].p_value < 0.01
    assert found.mcnemar < 0.001


def test_the_sign_of_a_comparison_follows_its_order(outputs):
    a, b = outputs(0.72), outputs(0.74)
    there, back = compare(a, b).total, compare(b, a).total
    assert there.mcnemar == back.mcnemar
    assert there.metrics[0].p_value == back.metrics[0].p_value
    assert there.metrics[0].difference.value == -back.metrics[0].difference.value


def test_scores_that_are_probabilities_have_no_calibration_error():
    rng = np.random.default_rng(0)
    score = rng.random(200_000)
    is_right = rng.random(200_000) < score
    assert measure_reliability(score, is_right).ece < 0.01
    assert measure_reliability(score**2, is_right).ece == pytest.approx(1 / 2 - 1 / 3, abs=0.01)


def test_calibration_error_by_hand():
    """Two scores share a bin; a score on a border belongs to the lower one."""
    found = measure_reliability(np.array([0.0, 1 / 15, 0.5, 0.52, 1.0]), np.array([False, False, True, False, True]))
    assert found.counts.tolist() == [2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert found.ece == pytest.approx((2 * (1 / 30) + 2 * 0.01) / 5)
