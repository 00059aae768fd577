"""Merging candidates of windows to the answers of each row, and scores for no answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.decoding import Candidates, find_class_tokens, merge_answers, no_answer_scores


def as_tuples(columns):
    return list(zip(*(column.tolist() for column in columns), strict=True))


def candidates_of(*spans):
    sequence, start, end, score = zip(*spans, strict=True)
    return Candidates(np.array(sequence), np.array(start), np.array(end), np.array(score, np.float64))


# two windows of row 0, tokens 0 to 4 and 5 to 9, which share characters 4 to 8; one window of row 1, tokens 10 to 12
OFFSETS = np.array(
    [[-1, -1], [0, 2], [2, 4], [4, 6], [6, 8], [-1, -1], [4, 6], [6, 8], [8, 10], [9, 12], [-1, -1], [0, 3], [3, 5]]
)
ROW_IDS = np.array([0, 0, 1], np.int32)


def test_answers_of_the_windows_of_a_row_are_merged():
    candidates = candidates_of(
        (0, 3, 4, 0.5), (0, 1, 1, 0.4), (1, 6, 7, 0.7), (1, 8, 9, 0.4), (2, 11, 12, 0.1), (2, 11, 11, 0.1)
    )  # fmt: skip
    merged = merge_answers(candidates, ROW_IDS, OFFSETS, 10)
    assert as_tuples(merged) == [
        (0, 4, 8, 0.7),  # in both windows: returned once, with the higher score
        (0, 0, 2, 0.4),  # equal scores: ordered by start
        (0, 8, 12, 0.4),
        (1, 0, 3, 0.1),  # then by length
        (1, 0, 5, 0.1),
    ]
    best = merge_answers(candidates, ROW_IDS, OFFSETS, 1)
    assert as_tuples(best) == [(0, 4, 8, 0.7), (1, 0, 3, 0.1)]


def test_tokens_without_characters_do_not_extend_answers():
    #                   an inserted space, a word, a token between words, a word, an inserted space
    offsets = np.array([[-1, -1], [3, 3], [4, 7], [8, 8], [9, 11], [11, 11], [-1, -1]])
    candidates = candidates_of(
        (0, 1, 5, 0.9), (0, 1, 1, 0.8), (0, 3, 3, 0.7), (0, 2, 3, 0.6), (0, 1, 2, 0.5), (0, 4, 5, 0.4)
    )  # fmt: skip
    merged = merge_answers(candidates, np.zeros(1, np.int32), offsets, 10)
    assert as_tuples(merged) == [(0, 4, 11, 0.9), (0, 4, 7, 0.6), (0, 9, 11, 0.4)]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 7), st.sampled_from([0.1, 0.2, 0.3])),
        min_size=1,
    ),
    st.integers(1, 5),
)
def test_merged_answers_have_the_best_score_of_each_span(spans, top_k):
    # three rows of two windows with eight tokens of three characters; the second window starts at the fifth token
    position = np.add.outer([0, 4, 0, 4, 0, 4], np.arange(8)).reshape(-1)
    offsets = np.stack([3 * position, 3 * position + 3], axis=1)
    row_ids = np.array([0, 0, 1, 1, 2, 2], np.int32)
    spans = [(s, 8 * s + min(i, j), 8 * s + max(i, j), score) for s, i, j, score in spans]
    best: dict[tuple[int, int, int], float] = {}
    for s, i, j, score in spans:
        span = (int(row_ids[s]), int(offsets[i, 0]), int(offsets[j, 1]))
        best[span] = max(score, best.get(span, 0))
    expected = []
    for row in range(3):
        of_row = sorted((-score, start, end) for (r, start, end), score in best.items() if r == row)
        expected += [(row, start, end, -score) for score, start, end in of_row[:top_k]]
    assert as_tuples(merge_answers(candidates_of(*spans), row_ids, offsets, top_k)) == expected
    reversed_order = merge_answers(candidates_of(*spans[::-1]), row_ids, offsets, top_k)
    assert as_tuples(reversed_order) == expected


def test_no_answer_score_of_a_row_is_the_minimum_over_its_windows():
    score_N = no_answer_scores(np.array([0.5, 0.2, 0.9]), ROW_IDS, 3)
    assert score_N.tolist() == [0.2, 0.9, 1.0]


def test_class_token_is_the_first_with_its_id():
    ids, cu_seqlens = np.array([0, 7, 1, 8, 1, 0, 1, 9, 1], np.int32), np.array([0, 5, 9], np.int32)
    assert find_class_tokens(ids, cu_seqlens, 1).tolist() == [2, 6]
    assert find_class_tokens(ids, cu_seqlens, 0).tolist() == [0, 5]
    with pytest.raises(ValueError, match="cls_token_id: a sequence has no token 9, expected one in every sequence"):
        find_class_tokens(ids, cu_seqlens, 9)
