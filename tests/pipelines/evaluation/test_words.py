"""Metrics of words and entities equal those of scikit-learn and seqeval on the same predictions."""

from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.evaluation.outputs import (
    SPAN,
    evaluate_files,
    labelled,
    metrics,
    random_ids,
    write_gold,
    write_output,
)

sklearn = pytest.importorskip("sklearn.metrics")
seqeval = pytest.importorskip("seqeval.metrics")

SCHEMES = {
    "bio": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "bioes": ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC", "ORG") for prefix in "BIES")],
    "plain": ["NOUN", "VERB", "PUNCT", "X"],
}


def random_sentences(labels, seed, number=200):
    """Return words with random gold labels, most of which are predicted; any sequence of labels occurs."""
    rng = np.random.default_rng(seed)
    found = []
    for row_id in random_ids(rng, number):
        gold = rng.integers(0, len(labels), rng.integers(0, 12))
        predicted = np.where(rng.random(len(gold)) < 0.8, gold, rng.integers(0, len(labels), len(gold)))
        words = [f"w{i}" for i in range(len(gold))]
        columns = ([labels[i] for i in gold], [labels[i] for i in predicted])
        found.append((row_id, ["de", "fr"][rng.integers(2)], words, *columns))
    return found


def spans(words, labels):
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    return [
        {"label": label, "score": 0.5, "start": int(start), "end": int(start) + len(word), "text": word}
        for word, label, start in zip(words, labels, starts, strict=False)
    ]


def write_words(folder, sentences, labels, **options):
    rows = [{"id": i, "lang": lang, "words": spans(words, found)} for i, lang, words, _, found in sentences]
    return write_output(folder, "token-classification", rows, [labelled("words", SPAN, labels)], **options)


def write_word_gold(folder, sentences):
    return write_gold(folder, [{"id": i, "tokens": words, "tags": gold} for i, _, words, gold, _ in sentences][::-1])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_and_entities(scheme, tmp_path):
    sentences = random_sentences(SCHEMES[scheme], seed=2)
    out = write_words(tmp_path, sentences, SCHEMES[scheme], rows_per_part=33)
    found = evaluate_files(out, write_word_gold(tmp_path, sentences))
    for lang in (None, "de", "fr"):
        some = [sentence for sentence in sentences if lang in (None, sentence[1])]
        y_true, y_pred = [s[3] for s in some], [s[4] for s in some]
        flat_true, flat_pred = [*chain(*y_true)], [*chain(*y_pred)]
        expected = {
            "accuracy": sklearn.accuracy_score(flat_true, flat_pred),
            "macro-F1": sklearn.f1_score(flat_true, flat_pred, average="macro"),
        }
        if scheme != "plain":
            expected |= {
                "entity precision": seqeval.precision_score(y_true, y_pred),
                "entity recall": seqeval.recall_score(y_true, y_pred),
                "entity F1": seqeval.f1_score(y_true, y_pred),
            }
        assert metrics(found, lang) == pytest.approx(expected)
    assert found.total.items == sum(len(s[2]) for s in sentences)


def test_entities_of_an_output_of_entities(tmp_path):
    """The entities of a job with aggregate: entity are compared by their positions."""
    from xlm_core.decoding import group_entities

    labels = SCHEMES["bio"]
    sentences = random_sentences(labels, seed=3)
    rows = []
    for row_id, lang, words, _, predicted in sentences:
        of_words = spans(words, predicted)
        entities = [
            {
                "label": kind,
                "score": 0.5,
                "start": of_words[first]["start"],
                "end": of_words[end - 1]["end"],
                "text": "",
            }
            for kind, first, end in group_entities(predicted, labels)
        ]
        rows.append({"id": row_id, "lang": lang, "entities": entities})
    task = {"token-classification": {"aggregate": "entity"}}
    out = write_output(tmp_path, task, rows, [labelled("entities", SPAN, labels)], rows_per_part=50)
    found = metrics(evaluate_files(out, write_word_gold(tmp_path, sentences)))
    y_true, y_pred = [s[3] for s in sentences], [s[4] for s in sentences]
    assert found == pytest.approx(
        {
            "entity precision": seqeval.precision_score(y_true, y_pred),
            "entity recall": seqeval.recall_score(y_true, y_pred),
            "entity F1": seqeval.f1_score(y_true, y_pred),
            "macro-F1 of types": seqeval.f1_score(y_true, y_pred, average="macro"),
        }
    )


def test_a_word_without_a_label_is_wrong(tmp_path):
    rows = [{"id": "a", "lang": "de", "words": [*spans(["ein"], ["X"]), spans(["Haus"], [None])[0] | {"score": None}]}]
    out = write_output(tmp_path, "token-classification", rows, [labelled("words", SPAN, ["X", "NOUN"])])
    found = evaluate_files(out, write_gold(tmp_path, [{"id": "a", "upos": ["X", "NOUN"]}]))
    assert metrics(found) == {"accuracy": 0.5, "macro-F1": 0.5}
    assert found.confusion.counts.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found.reliability.counts.sum() == 1


def test_gold_labels_may_be_large_lists_and_dictionaries(tmp_path):
    sentences = random_sentences(SCHEMES["plain"], seed=4)
    out = write_words(tmp_path, sentences, SCHEMES["plain"])
    rows = [{"id": i, "tags": gold} for i, _, _, gold, _ in sentences]
    kinds = (pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.dictionary(pa.int8(), pa.string())))
    schemas = [pa.schema([("id", pa.string()), ("tags", kind)]) for kind in kinds]
    results = [evaluate_files(out, write_gold(tmp_path, rows, schema)).total for schema in schemas]
    assert results[0] == results[1] == results[2]
