# ruff: noqa: E501 - a case stands on one line
"""How columns are compared, of every kind that a task writes."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.diff.compare_columns import comparison

ANSWER = pa.struct([("text", pa.string()), ("score", pa.float32()), ("start", pa.int32()), ("end", pa.int32())])
TOKEN = pa.struct([("token", pa.string()), ("score", pa.float32())])


def answer(text, score, start=0):
    return {"text": text, "score": score, "start": start, "end": start + len(text)}


def fill(*tokens):
    return [{"token": token, "score": score} for token, score in tokens]


@pytest.mark.parametrize(
    ("name", "kind", "a", "b", "changed", "gap"),
    [
        ("answers", pa.list_(ANSWER), [[answer("x", 0.5)]], [[answer("x", 0.25, 7), answer("y", 0.1)]], [False], 0.25),
        ("answers", pa.list_(ANSWER), [[answer("x", 0.5)], []], [[answer("y", 0.5)], [answer("y", 0)]], [True, True], 0),
        ("fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5), ("b", 0.1)), []]], [[fill(("a", 0.5)), []]], [False], 0),
        ("fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5)), fill(("b", 0.1))]], [[fill(("a", 0.5)), fill(("c", 0.1))]], [True], 0),
        ("fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5))], []], [[fill(("a", 0.5)), []], []], [True, False], 0),
        ("generated", pa.string(), ["and so on", "é"], ["and so on", "e"], [False, True], 0),
        ("no_answer_score", pa.float32(), [0.5, math.nan, math.inf], [0.5, math.nan, math.inf], [False] * 3, 0),
        ("perplexity", pa.float64(), [1.0, math.nan], [1.0, 2.0], [False, True], math.inf),
        ("num_tokens", pa.int32(), [1, 2, -(2**31)], [1, 5, 2**31 - 1], [False, True, True], 2**32 - 1),
        ("scores", pa.list_(pa.float32()), [[0.5, 0.5], [1.0]], [[0.5, 0.25], [0.5, 0.5]], [True, True], 0.25),
        ("words", pa.list_(pa.struct([*ANSWER, ("label", pa.string())])), [None, []], [None, None], [False, True], 0),
    ],
)  # fmt: skip
def test_columns_of_every_kind(name, kind, a, b, changed, gap):
    field = pa.field(name, kind)
    way = comparison(field, field)
    # as parts of a larger array, as which they often come
    measured = way.measure(*(pa.array([*values, *values], kind).slice(len(values)) for values in (a, b)))
    assert measured.changed.tolist() == changed
    assert measured.gap.max() == gap


def test_choices_are_told_like_labels():
    field = pa.field("copa_choice", pa.int32())
    measured = comparison(field, field).measure(pa.array([0, 1, 2], pa.int32()), pa.array([0, 2, 2], pa.int32()))
    assert measured.changed.tolist() == [False, True, False]
    assert [side.to_pylist() for side in measured.values] == [["0", "1", "2"], ["0", "2", "2"]]


def test_vectors_without_direction():
    field = pa.field("v", pa.list_(pa.float32(), 2))
    a, b = [[0, 0], [0, 0], [3, 4], [math.nan, 1], [1e30, 0]], [[0, 0], [1, 0], [-3, -4], [1, 1], [2e30, 0]]
    measured = comparison(field, field).measure(*(pa.array(values, field.type) for values in (a, b)))
    assert measured.similarity.tolist() == [1, 0, -1, 0, 1]
    assert measured.changed.tolist() == [False, True, True, True, True]


pairs = st.lists(
    st.fixed_dictionaries({"label": st.sampled_from("abc"), "score": st.sampled_from([0.0, 0.25, 0.5, 1.0])}),
    max_size=3,
    unique_by=lambda pair: pair["label"],
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(pairs, pairs), max_size=6))
def test_labels_in_another_order_are_the_same_labels(rows):
    field = pa.field("top", pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])))
    measured = comparison(field, field).measure(*(pa.array([row[i] for row in rows], field.type) for i in (0, 1)))
    for i, sides in enumerate(rows):
        a, b = ({pair["label"]: pair["score"] for pair in side} for side in sides)
        assert measured.changed[i] == (a.keys() != b.keys())
        assert measured.gap[i] == (max((abs(a[k] - b[k]) for k in a), default=0) if a.keys() == b.keys() else 0)
