"""Choices, regressions and perplexities."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.results import list_of
from tests.pipelines.evaluation.outputs import evaluate_files, labelled, metrics, random_ids, write_gold, write_output


def test_choices(tmp_path):
    fields = [pa.field("choice", pa.int32()), pa.field("scores", list_of(pa.float32()))]
    rows = [
        {"id": str(i), "lang": "de", "choice": choice, "scores": scores}
        for i, (choice, scores) in enumerate([(0, [0.9, 0.1]), (1, [0.2, 0.8]), (2, [0.1, 0.2, 0.7])])
    ]
    out = write_output(tmp_path, "multiple-choice", rows, fields)
    found = evaluate_files(
        out, write_gold(tmp_path, [{"id": str(i), "label": label} for i, label in enumerate([0, 0, 2])])
    )
    assert metrics(found) == {"accuracy": pytest.approx(2 / 3)}
    confidence = found.reliability.confidence[found.reliability.counts > 0]
    assert confidence.tolist() == pytest.approx([0.7, 0.8, 0.9])


def test_regression(tmp_path):
    sklearn, scipy = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, (200, 2)) + 1e6  # with many equal values, far from 0
    values = (gold + rng.normal(0, 2, (200, 2))).astype(np.float32)
    ids = random_ids(rng, 200)
    rows = [{"id": ids[i], "lang": "de", "values": values[i].tolist()} for i in range(200)]
    field = labelled("values", list_of(pa.float32()), ["a", "b"])
    out = write_output(tmp_path, {"text-classification": {"problem": "regression"}}, rows, [field])
    found = evaluate_files(out, write_gold(tmp_path, [{"id": ids[i], "value": gold[i].tolist()} for i in range(200)]))
    assert metrics(found) == pytest.approx(
        {
            "MSE": sklearn.mean_squared_error(gold, values),
            "Pearson": np.mean([scipy.pearsonr(gold[:, c], values[:, c])[0] for c in (0, 1)]),
            "Spearman": np.mean([scipy.spearmanr(gold[:, c], values[:, c])[0] for c in (0, 1)]),
        },
        rel=1e-5,
    )
    low, high = found.total.metrics[1].low, found.total.metrics[1].high
    assert low < found.total.metrics[1].value < high


def test_perplexity_is_that_of_all_tokens_and_needs_no_gold_labels(tmp_path):
    names = {"num_tokens": pa.int32(), "log_likelihood": pa.float64(), "perplexity": pa.float64()}
    values = [("de", 10, -20.0), ("de", 30, -90.0), ("en", 5, -5.0), ("en", 0, 0.0)]
    rows = [
        {"id": str(i), "lang": lang, "num_tokens": num, "log_likelihood": likelihood, "perplexity": 0.0}
        for i, (lang, num, likelihood) in enumerate(values)
    ]
    out = write_output(tmp_path, "lm-scoring", rows, [pa.field(*item) for item in names.items()])
    found = evaluate_files(out, None)
    assert metrics(found) == {"perplexity": pytest.approx(np.exp(115 / 45))}
    assert metrics(found, "de") == {"perplexity": pytest.approx(np.exp(110 / 40))}
    assert found.total.items == 45


def test_a_correlation_of_equal_values_is_not_defined(tmp_path, recwarn):
    """It is left out of the mean of the languages."""
    rows = [{"id": str(i), "lang": "de" if i < 5 else "fr", "values": [float(i < 5) * i]} for i in range(10)]
    field = labelled("values", list_of(pa.float32()), ["a"])
    out = write_output(tmp_path, {"text-classification": {"problem": "regression"}}, rows, [field])
    found = evaluate_files(out, write_gold(tmp_path, [{"id": str(i), "value": float(i)} for i in range(10)]))
    assert np.isnan(metrics(found, "fr")["Pearson"])
    assert found.mean.metrics[1].value == metrics(found, "de")["Pearson"] == pytest.approx(1)
    assert [str(warning.message) for warning in recwarn] == []
