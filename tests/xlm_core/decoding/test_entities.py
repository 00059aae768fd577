"""Entities from labels of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.decoding import find_entities, group_entities, parse_label_scheme

BIO = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
BIOES = [*BIO, "E-LOC", "S-LOC", "E-PER", "S-PER"]
BILOU = [*BIO, "L-LOC", "U-LOC", "L-PER", "U-PER"]
PLAIN = ["O", "NOUN", "VERB"]


@pytest.mark.parametrize(
    ("label_set", "labels", "entities"),
    [
        (BIO, "O O O", []),
        (BIO, "", []),
        (BIO, "B-LOC I-LOC O B-LOC", [("LOC", 0, 2), ("LOC", 3, 4)]),
        (BIO, "B-LOC B-LOC", [("LOC", 0, 1), ("LOC", 1, 2)]),
        (BIO, "I-LOC I-LOC B-LOC I-LOC", [("LOC", 0, 2), ("LOC", 2, 4)]),  # IOB1: B only between adjacent entities
        (BIO, "B-LOC I-PER I-PER", [("LOC", 0, 1), ("PER", 1, 3)]),  # an I without its B begins an entity
        (BIO, "B-LOC O I-LOC", [("LOC", 0, 1), ("LOC", 2, 3)]),
        (BIOES, "S-LOC S-LOC", [("LOC", 0, 1), ("LOC", 1, 2)]),
        (BIOES, "B-LOC I-LOC E-LOC I-LOC", [("LOC", 0, 3), ("LOC", 3, 4)]),  # E ends the entity
        (BIOES, "E-LOC E-LOC", [("LOC", 0, 1), ("LOC", 1, 2)]),
        (BIOES, "B-LOC E-PER S-PER I-PER", [("LOC", 0, 1), ("PER", 1, 2), ("PER", 2, 3), ("PER", 3, 4)]),
        (BIOES, "I-LOC S-LOC E-LOC", [("LOC", 0, 1), ("LOC", 1, 2), ("LOC", 2, 3)]),
        (BILOU, "B-LOC I-LOC L-LOC U-LOC U-LOC", [("LOC", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
        (BILOU, "B-LOC L-LOC L-LOC", [("LOC", 0, 2), ("LOC", 2, 3)]),
        (PLAIN, "NOUN NOUN VERB O VERB", [("NOUN", 0, 2), ("VERB", 2, 3), ("VERB", 4, 5)]),
        (["X-RAY"], "X-RAY X-RAY", [("X-RAY", 0, 2)]),  # a dash is not enough for a scheme
        (["O", "A-side", "B-side"], "B-side B-side A-side", [("B-side", 0, 2), ("A-side", 2, 3)]),
        (["B-", "I-LOC"], "B- I-LOC I-LOC", [("B-", 0, 1), ("I-LOC", 1, 3)]),  # a prefix without a type
        (["O", "B-to-do", "I-to-do"], "B-to-do I-to-do", [("to-do", 0, 2)]),
        (["E", "S"], "E S S", [("E", 0, 1), ("S", 1, 3)]),
    ],
)
def test_entities_follow_the_scheme_of_the_label_set(label_set, labels, entities):
    assert group_entities(labels.split(), label_set) == entities


def test_without_a_label_set_the_labels_of_the_text_determine_the_scheme():
    assert group_entities(["B-LOC", "I-LOC", "O", "B-LOC", "B-LOC"]) == [("LOC", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5)]
    assert group_entities(["NOUN", "B-side", "B-side"]) == [("NOUN", 0, 1), ("B-side", 1, 3)]


def test_scheme_has_types_begins_and_ends():
    scheme = parse_label_scheme(["B-PER", "O", "I-PER", "E-LOC", "U-PER"])
    assert scheme.types == ("PER", "LOC")
    assert scheme.type_of.tolist() == [0, -1, 0, 1, 0]
    assert scheme.begins.tolist() == [True, False, False, False, True]
    assert scheme.ends.tolist() == [False, False, False, True, True]


def join_one_by_one(labels, scores, rows, label_set):
    """Join words to entities in a loop."""
    found, open_type, row_before = [], None, None
    for i, (label, row) in enumerate(zip(labels, rows, strict=True)):
        prefix, _, kind = label.partition("-") if label_set is not PLAIN else ("", "", label)
        if row != row_before:
            open_type, row_before = None, row
        if label == "O":
            open_type = None
            continue
        if open_type == kind and prefix not in ("B", "S", "U"):
            found[-1][2] = i
        else:
            found.append([kind, i, i])
        open_type = None if prefix in ("E", "S", "L", "U") else kind
    return [(kind, first, last, np.mean(scores[first : last + 1])) for kind, first, last in found]


@pytest.mark.parametrize("label_set", [BIO, BIOES, BILOU, PLAIN], ids=["BIO", "BIOES", "BILOU", "plain"])
@given(data=st.data())
def test_entities_of_a_batch_equal_those_of_a_loop_over_the_words(label_set, data):
    labels = data.draw(st.lists(st.sampled_from(label_set), max_size=20))
    rows = sorted(data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels))))
    scores = np.random.default_rng(len(labels)).random(len(labels), np.float32)
    scheme = parse_label_scheme(label_set)
    label_W = np.array([label_set.index(label) for label in labels], np.int64)
    found = find_entities(label_W, scores, np.array(rows, np.int64), scheme)
    expected = join_one_by_one(labels, scores, rows, label_set)
    assert [scheme.types[kind] for kind in found.type] == [kind for kind, *_ in expected]
    assert found.first.tolist() == [first for _, first, _, _ in expected]
    assert found.last.tolist() == [last for _, _, last, _ in expected]
    assert found.score.dtype == np.float32
    np.testing.assert_allclose(found.score, [score for *_, score in expected], rtol=1e-6)


@given(st.lists(st.sampled_from(BIOES), max_size=20))
def test_every_labelled_word_is_in_exactly_one_entity(labels):
    words = [word for _, first, stop in group_entities(labels, BIOES) for word in range(first, stop)]
    assert words == [i for i, label in enumerate(labels) if label != "O"]
