# ruff: noqa: E501 - a case is on one line
"""How the columns of two outputs are compared: as their task defines, or by their types if the tasks differ."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.diff.compare_columns import choose_comparison
from pipelines.results.comparison import compare_label_scores
from pipelines.results.vector_comparison import compare_vectors
from pipelines.tasks import (
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TextGeneration,
    TokenClassification,
)

ANSWER = pa.struct([("text", pa.string()), ("score", pa.float32()), ("start", pa.int32()), ("end", pa.int32())])
TOKEN = pa.struct([("token", pa.string()), ("score", pa.float32())])
SPAN = pa.struct([*ANSWER, ("label", pa.string())])


def answer(text, score, start=0):
    return {"text": text, "score": score, "start": start, "end": start + len(text)}


def fill(*tokens):
    return [{"token": token, "score": score} for token, score in tokens]


def compare(field, a, b, *tasks):
    return choose_comparison(field, field, tasks, tasks).measure(pa.array(a, field.type), pa.array(b, field.type))


@pytest.mark.parametrize(
    ("task", "name", "data_type", "a", "b", "changed", "gap"),
    [
        (QuestionAnswering(), "answers", pa.list_(ANSWER), [[answer("x", 0.5)]], [[answer("x", 0.25, 7), answer("y", 0.1)]], [False], 0.25),
        (QuestionAnswering(), "answers", pa.list_(ANSWER), [[answer("x", 0.5)], []], [[answer("y", 0.5)], [answer("y", 0)]], [True, True], 0),
        (FillMask(), "fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5), ("b", 0.1)), []]], [[fill(("a", 0.5)), []]], [False], 0),
        (FillMask(), "fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5)), fill(("b", 0.1))]], [[fill(("a", 0.5)), fill(("c", 0.1))]], [True], 0),
        (FillMask(), "fills", pa.list_(pa.list_(TOKEN)), [[fill(("a", 0.5))], []], [[fill(("a", 0.5)), []], []], [True, False], 0),
        (TextGeneration(), "generated", pa.string(), ["and so on", "é"], ["and so on", "e"], [False, True], 0),
        (QuestionAnswering(), "no_answer_score", pa.float32(), [0.5, math.nan, math.inf], [0.5, math.nan, math.inf], [False] * 3, 0),
        (LmScoring(), "perplexity", pa.float64(), [1.0, math.nan], [1.0, 2.0], [False, True], math.inf),
        (LmScoring(), "num_tokens", pa.int32(), [1, 2, -(2**31)], [1, 5, 2**31 - 1], [False, True, True], 2**32 - 1),
        (TextClassification(scores=True), "scores", pa.list_(pa.float32()), [[0.5, 0.5], [1.0]], [[0.5, 0.25], [0.5, 0.5]], [True, True], 0.25),
        (TokenClassification(), "words", pa.list_(SPAN), [None, []], [None, None], [False, True], 0),
    ],
)  # fmt: skip
def test_columns_of_every_task_are_compared(task, name, data_type, a, b, changed, gap):
    field = pa.field(name, data_type)
    comparison = choose_comparison(field, field, [task], [task])
    # slices of a larger array, because parts are often read like that
    differences = comparison.measure(*(pa.array([*x, *x], data_type).slice(len(x)) for x in (a, b)))
    assert differences.changed.tolist() == changed
    assert differences.gap.max() == gap


def test_changes_of_choices_are_counted_like_those_of_labels():
    field = pa.field("copa_choice", pa.int32())
    differences = compare(field, [0, 1, 2], [0, 2, 2], MultipleChoice(prefix="copa_"))
    assert differences.changed.tolist() == [False, True, False]
    assert [values.to_pylist() for values in differences.values] == [["0", "1", "2"], ["0", "2", "2"]]


@pytest.mark.parametrize(
    ("data_type", "a", "b", "changed", "gap"),
    [
        (pa.int32(), [0, 1, 2], [0, 2, 2], [False, True, False], 1),
        (pa.list_(pa.float32()), [[0.5], [1.0]], [[0.5], [0.25]], [False, True], 0.75),
        (pa.string(), ["a", "b"], ["a", "c"], [False, True], 0),
        (pa.list_(pa.float32(), 2), [[1, 0], [1, 0]], [[1, 0], [0, 1]], [False, True], 0),
        (pa.list_(ANSWER), [[answer("x", 0.5)], []], [[answer("x", 0.25)], [answer("x", 0.5)]], [False, True], 0.25),
    ],
)
def test_columns_of_different_tasks_are_compared_by_type(data_type, a, b, changed, gap):
    field = pa.field("choice", data_type)
    for tasks in (([MultipleChoice()], []), ([MultipleChoice()], [TextGeneration()]), ([], [])):
        differences = choose_comparison(field, field, *tasks).measure(pa.array(a, data_type), pa.array(b, data_type))
        assert differences.changed.tolist() == changed
        assert differences.gap.max() == gap
        assert differences.values is None


def test_columns_of_types_without_a_common_measure_are_not_compared():
    for a, b in ((pa.string(), pa.int32()), (pa.list_(pa.float32(), 2), pa.list_(pa.float32(), 3))):
        assert choose_comparison(pa.field("x", a), pa.field("x", b), [], []) is None


def test_zero_vectors_and_vectors_that_are_not_finite_have_a_similarity():
    field = pa.field("v", pa.list_(pa.float32(), 2))
    a, b = [[0, 0], [0, 0], [3, 4], [math.nan, 1], [1e30, 0]], [[0, 0], [1, 0], [-3, -4], [1, 1], [2e30, 0]]
    differences = compare_vectors(field, field).measure(*(pa.array(values, field.type) for values in (a, b)))
    assert differences.similarity.tolist() == [1, 0, -1, 0, 1]
    assert differences.changed.tolist() == [False, True, True, True, True]


pairs = st.lists(
    st.fixed_dictionaries({"label": st.sampled_from("abc"), "score": st.sampled_from([0.0, 0.25, 0.5, 1.0])}),
    max_size=3,
    unique_by=lambda pair: pair["label"],
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(pairs, pairs), max_size=6))
def test_order_of_labels_does_not_matter(rows):
    field = pa.field("top", pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])))
    differences = compare_label_scores()(field, field).measure(
        *(pa.array([row[i] for row in rows], field.type) for i in (0, 1))
    )
    for i, sides in enumerate(rows):
        a, b = ({pair["label"]: pair["score"] for pair in side} for side in sides)
        assert differences.changed[i] == (a.keys() != b.keys())
        assert differences.gap[i] == (max((abs(a[k] - b[k]) for k in a), default=0) if a.keys() == b.keys() else 0)
