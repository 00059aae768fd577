"""Metrics of labels equal those of scikit-learn on the same predictions."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.results import list_of
from tests.pipelines.evaluation.outputs import evaluate_files, labelled, metrics, random_ids, write_gold, write_output

sklearn = pytest.importorskip("sklearn.metrics")

LABELS = ["sport", "politics", "science", "culture", "never"]
LABEL = [labelled("label", pa.string(), LABELS), pa.field("score", pa.float32())]
SCORED_LABELS = list_of(pa.struct([("label", pa.string()), ("score", pa.float32())]))


@pytest.fixture(scope="module")
def rows():
    """Return 500 rows with a gold label that is predicted with a probability of a half."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 4, 500)
    predicted = np.where(rng.random(500) < 0.5, gold, rng.integers(0, 4, 500))
    columns = zip(random_ids(rng, 500), gold, predicted, rng.random(500), rng.integers(0, 3, 500), strict=True)
    return [
        {"id": i, "gold": LABELS[g], "label": LABELS[p], "score": float(s), "lang": ["de", "en", "fr"][lang]}
        for i, g, p, s, lang in columns
    ]


def test_single_labels(rows, tmp_path):
    out = write_output(tmp_path, "text-classification", rows, LABEL, rows_per_part=77)
    gold = write_gold(tmp_path, [{"id": row["id"], "label": row["gold"]} for row in rows[::-1]])
    found = evaluate_files(out, gold)
    for lang in (None, "de", "en", "fr"):
        some = [row for row in rows if lang in (None, row["lang"])]
        y_true, y_pred = ([row[name] for row in some] for name in ("gold", "label"))
        assert metrics(found, lang) == pytest.approx(
            {
                "accuracy": sklearn.accuracy_score(y_true, y_pred),
                "macro-F1": sklearn.f1_score(y_true, y_pred, average="macro"),
            }
        )
    y_true, y_pred = ([row[name] for row in rows] for name in ("gold", "label"))
    expected = sklearn.confusion_matrix(y_true, y_pred, labels=LABELS)
    assert found.confusion.labels == LABELS
    assert found.confusion.counts[:, :-1].tolist() == expected.tolist()
    assert found.mean.metrics[0].value == pytest.approx(np.mean([s.metrics[0].value for s in found.langs.values()]))


def test_numbers_of_labels_are_their_positions_in_the_head(rows, tmp_path):
    out = write_output(tmp_path, "text-classification", rows, LABEL)
    names = write_gold(tmp_path, [{"id": row["id"], "label": row["gold"]} for row in rows])
    numbers = write_gold(tmp_path, [{"id": row["id"], "label": LABELS.index(row["gold"])} for row in rows])
    assert metrics(evaluate_files(out, names)) == metrics(evaluate_files(out, numbers))


def test_several_labels(tmp_path):
    rng = np.random.default_rng(1)
    y_true = rng.random((300, 5)) < 0.4
    scores = np.where(rng.random((300, 5)) < 0.7, y_true, ~y_true) * 0.5 + rng.random((300, 5)) * 0.4
    y_pred = scores >= 0.5
    y_true[:, 4] = y_pred[:, 4] = False  # the last label is neither gold nor predicted
    ids = random_ids(rng, 300)
    rows = [
        {
            "id": ids[i],
            "lang": "de",
            "labels": [{"label": LABELS[c], "score": float(scores[i, c])} for c in np.flatnonzero(y_pred[i])],
            "scores": scores[i].tolist(),
        }
        for i in range(300)
    ]
    fields = [labelled("labels", SCORED_LABELS, LABELS), labelled("scores", list_of(pa.float32()), LABELS)]
    task = {"text-classification": {"problem": "multi-label", "scores": True}}
    out = write_output(tmp_path, task, rows, fields, rows_per_part=70)
    gold_rows = [{"id": ids[i], "labels": [LABELS[c] for c in np.flatnonzero(y_true[i])]} for i in range(300)]
    found = evaluate_files(out, write_gold(tmp_path, gold_rows))
    assert metrics(found) == pytest.approx(
        {
            "all labels right": sklearn.accuracy_score(y_true, y_pred),
            "micro-F1": sklearn.f1_score(y_true, y_pred, average="micro"),
            "macro-F1": sklearn.f1_score(y_true[:, :4], y_pred[:, :4], average="macro"),
        }
    )
    assert found.reliability.counts.sum() == 300 * 5


def test_results_do_not_depend_on_the_order_of_rows_and_on_parts(rows, tmp_path):
    gold = write_gold(tmp_path, [{"id": row["id"], "label": row["gold"]} for row in rows])
    shuffled = [rows[i] for i in np.random.default_rng(5).permutation(len(rows))]
    a = evaluate_files(write_output(tmp_path, "text-classification", rows, LABEL), gold)
    b = evaluate_files(write_output(tmp_path, "text-classification", shuffled, LABEL, rows_per_part=13), gold)
    assert (a.total, a.mean, a.langs) == (b.total, b.mean, b.langs)
