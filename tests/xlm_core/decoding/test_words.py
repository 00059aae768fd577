"""From tokens to words: their characters, and their scores from those of their subwords."""

import sys

import numpy as np
import pytest
from hypothesis import given

from tests.xlm_core.decoding.windowed_rows import Row, build_layout, some_rows
from xlm_core.decoding import (
    aggregate_scores,
    drop_blank_words,
    find_entities,
    join_subwords,
    parse_label_scheme,
    tokens_with_most_context,
)


def words_of(layout, text="last"):
    tokens = tokens_with_most_context(*layout.windows, text)
    return tokens, join_subwords(tokens, layout.word_ids, layout.offsets, layout.cu_seqlens, layout.row_ids)


@pytest.mark.parametrize("text", ["first", "last"])
@given(rows=some_rows)
def test_subwords_of_a_word_are_joined_across_windows(text, rows):
    layout = build_layout(rows)
    tokens, words = words_of(layout, text)
    expected = []
    for r, row in enumerate(rows):
        position = 0
        for number, size in enumerate(row.texts[0 if text == "first" else -1]):
            expected.append((r, number, 2 * position, 2 * (position + size)))
            position += size
    assert list(zip(*(column.tolist() for column in words[:4]), strict=True)) == expected
    subwords = [i for first, last in zip(words.first, words.last, strict=True) for i in range(first, last + 1)]
    assert subwords == list(range(len(tokens)))


@given(some_rows)
def test_windows_with_equal_scores_give_the_words_and_entities_of_one_long_sequence(rows):
    without_windows = [row._replace(windows=[(0, sum(row.texts[-1]))]) for row in rows]
    scores = np.random.default_rng(0).random((20, 3), np.float32)  # by position within the text
    results = []
    for layout in (build_layout(rows), build_layout(without_windows)):
        tokens, words = words_of(layout)
        results.append([*words])
        for how in ("first", "last", "max", "mean"):
            scores_WC = aggregate_scores(scores[layout.positions], tokens, words, how)
            label_W, scheme = scores_WC.argmax(1), parse_label_scheme(["O", "B-LOC", "I-LOC"])
            results[-1] += [scores_WC, *find_entities(label_W, scores_WC.max(1), words.row, scheme)]
    for windowed, single in zip(*results, strict=True):
        assert np.array_equal(windowed, single)


SCORES = np.array([[0, 0], [0.2, 0.4], [0.9, 0.1], [0.1, 0.9], [0.3, 0.6], [0.5, 0.5], [0.25, 0.5], [0, 0]], np.float32)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("first", [[0.2, 0.4], [0.3, 0.6], [0.5, 0.5]]),
        ("last", [[0.1, 0.9], [0.3, 0.6], [0.25, 0.5]]),
        ("max", [[0.9, 0.1], [0.3, 0.6], [0.5, 0.5]]),  # 0.9 occurs twice in the first word: the first subword is used
        ("mean", [[0.4, 1.4 / 3], [0.3, 0.6], [0.375, 0.5]]),
    ],
)
def test_word_scores_are_aggregated_from_subword_scores(how, expected):
    tokens, words = words_of(build_layout([Row([[3, 1, 2]], [(0, 6)])]))
    scores_WC = aggregate_scores(SCORES, tokens, words, how)
    assert scores_WC.dtype == np.float32
    np.testing.assert_allclose(scores_WC, np.array(expected, np.float32), rtol=1e-6)


def test_unknown_aggregation_raises_an_error():
    tokens, words = words_of(build_layout([Row([[1]], [(0, 1)])]))
    with pytest.raises(ValueError, match="how: got 'median', expected one of first, last, max, mean"):
        aggregate_scores(SCORES, tokens, words, "median")


@pytest.mark.parametrize("how", ["first", "last", "max", "mean"])
def test_dropping_words_does_not_change_the_scores_of_others(how):
    layout = build_layout([Row([[1, 2, 1]], [(0, 4)]), Row([[1, 2]], [(0, 3)])])
    scores_TC = np.random.default_rng(1).random((len(layout.word_ids), 4), np.float32)
    tokens, words = words_of(layout)
    kept = drop_blank_words(words, ["ab  \u3000\tgh", "\n\nABCD"])
    assert list(zip(kept.row, kept.number, strict=True)) == [(0, 0), (0, 2), (1, 1)]
    assert (
        aggregate_scores(scores_TC, tokens, kept, how) == aggregate_scores(scores_TC, tokens, words, how)[[0, 2, 4]]
    ).all()


def test_white_space_is_defined_by_str_isspace():
    codes = range(sys.maxunicode + 1)
    layout = build_layout([Row([[1]], [(0, 1)])])
    _, word = words_of(layout)
    text = "".join(map(chr, codes))  # includes lone surrogates
    every = type(word)(*(np.repeat(column, len(codes)) for column in word))
    every = every._replace(start=np.array(codes), end=np.array(codes) + 1)
    assert drop_blank_words(every, [text]).start.tolist() == [code for code in codes if not chr(code).isspace()]


def test_word_without_characters_is_blank():
    _, words = words_of(build_layout([Row([[1, 1]], [(0, 2)])]))
    assert drop_blank_words(words._replace(end=words.start + np.array([0, 2])), ["abcd"]).number.tolist() == [1]


def test_words_with_the_same_characters_are_joined():
    """Some rules split `…` into three full stops; each character must have one label."""
    word_ids, cu_seqlens, row_ids = (
        np.array([-1, 0, 1, 2, 3, 3, -1], np.int32),
        np.array([0, 7], np.int32),
        np.array([0]),
    )
    offsets = np.array([[-1, -1], [0, 2], [2, 3], [2, 3], [2, 3], [3, 5], [-1, -1]], np.int32)
    words = join_subwords(np.arange(1, 6), word_ids, offsets, cu_seqlens, row_ids)
    assert list(zip(words.start.tolist(), words.end.tolist(), strict=True)) == [(0, 2), (2, 3), (2, 5)]
    assert (words.first.tolist(), words.last.tolist()) == ([0, 1, 3], [0, 2, 4])
