"""Spans of tokens do not separate a character from its combining marks."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.xlm_core.decoding.attached_marks import is_attached
from xlm_core.decoding import attach_marks

# letters and marks of Latin, Hebrew, Arabic, Devanagari, Thai, Tibetan, Myanmar, Khmer, Kana and emoji
CHARS = "aq \n\u200d\u0301\u0323\u05e9\u05b8\u0643\u064e\u092b\u093c\u093f\u094d\u0e01\u0e49\u0f40\u0f72\u1019\u103a"
CHARS += "\u1780\u17d2\u304b\u309a\u2764\ufe0f\u20e3\U000e0100"
some_texts = st.lists(st.text(st.sampled_from(CHARS), max_size=12), min_size=1, max_size=4)


@given(some_texts, st.data())
def test_no_span_begins_or_ends_before_the_mark_of_a_character(texts, data):
    rows, spans = [], []
    for row, text in enumerate(texts):
        bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
        spans += pairwise(bounds)
        rows += [row] * (len(bounds) - 1)
    offsets = np.array([(-1, -1), *spans], np.int32)
    attached = attach_marks(offsets, np.arange(1, len(offsets)), np.array(rows, np.int32), texts)
    assert attached.dtype == offsets.dtype
    assert attached[0].tolist() == [-1, -1]  # not one of the given tokens
    for row, span, found in zip(rows, spans, attached[1:].tolist(), strict=True):
        text = texts[row]
        assert not any(is_attached(text, bound) for bound in found)
        for old, new in zip(span, found, strict=True):  # moved over marks only
            assert old <= new <= len(text)
            assert all(is_attached(text, i) for i in range(old, new))


def test_marks_belong_to_the_token_of_their_character():
    texts = ["e\u0300\u0301k \u0301", "\u0301x", "\u304b\u309a\u304d\u309a"]
    rows = [0, 0, 0, 0, 0, 1, 1, 2, 2]
    spans = [(0, 1), (1, 2), (2, 3), (3, 4), (5, 6), (0, 1), (1, 2), (0, 1), (1, 4)]
    attached = attach_marks(np.array(spans, np.int32), np.arange(9), np.array(rows, np.int32), texts)
    # a mark after a space or at the beginning of a text has a span of its own
    expected = [(0, 3), (3, 3), (3, 3), (3, 4), (5, 6), (0, 1), (1, 2), (0, 2), (2, 4)]
    assert [tuple(span) for span in attached.tolist()] == expected
