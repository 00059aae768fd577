"""Labels of words to entities, tokens to words."""

import numpy as np
import pytest

from xlm_core.decoding import find_words, group_entities


@pytest.mark.parametrize(
    ("labels", "entities"),
    [
        ("O O O", []),
        ("B-LOC I-LOC O B-LOC", [("LOC", 0, 2), ("LOC", 3, 4)]),
        ("B-LOC B-LOC", [("LOC", 0, 1), ("LOC", 1, 2)]),
        ("B-LOC I-PER I-PER", [("LOC", 0, 1), ("PER", 1, 3)]),  # an I without its B opens one
        ("I-LOC I-LOC", [("LOC", 0, 2)]),
        ("B-LOC O I-LOC", [("LOC", 0, 1), ("LOC", 2, 3)]),
        ("S-LOC S-LOC", [("LOC", 0, 1), ("LOC", 1, 2)]),
        ("B-LOC I-LOC E-LOC I-LOC", [("LOC", 0, 3), ("LOC", 3, 4)]),  # E closes
        ("NOUN NOUN VERB NOUN", [("NOUN", 0, 2), ("VERB", 2, 3), ("NOUN", 3, 4)]),
        ("X-RAY X-RAY", [("X-RAY", 0, 2)]),  # a dash alone makes no scheme
    ],
)
def test_entities_follow_the_labels_scheme(labels, entities):
    assert group_entities(labels.split()) == entities


def test_words_are_those_of_each_rows_first_text():
    # <s> w0 w0 w1 </s> | <s> w0 </s> w0 w1 </s> (a pair) | <s> </s> (nothing)
    word_ids = np.array([-1, 0, 0, 1, -1, -1, 0, -1, 0, 1, -1, -1, -1], np.int32)
    starts = np.array([-1, 0, 2, 6, -1, -1, 1, -1, 0, 3, -1, -1, -1], np.int32)
    ends = np.array([-1, 2, 5, 9, -1, -1, 4, -1, 2, 5, -1, -1, -1], np.int32)
    words = find_words(word_ids, np.stack([starts, ends], 1), np.array([0, 5, 11, 13], np.int32))
    assert words.row.tolist() == [0, 0, 1]
    assert words.token.tolist() == [1, 3, 6]
    assert words.start.tolist() == [0, 6, 1]
    assert words.end.tolist() == [5, 9, 4]


def test_no_rows_have_no_words():
    empty = np.empty(0, np.int32)
    assert len(find_words(empty, np.empty((0, 2), np.int32), np.zeros(1, np.int32)).row) == 0
