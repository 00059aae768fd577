# ruff: noqa: E501 - a message is on one line
"""The columns of the output: their names, their order, and that no two have the same name."""

import json

import pytest
import yaml

from pipelines.tasks import (
    TASKS,
    FeatureExtraction,
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TextGeneration,
    TokenClassification,
)
from tests.jobs.job_file.example_jobs import MINIMAL

PLAIN_COLUMNS = [
    (FeatureExtraction(), ["embedding"]),
    (TextClassification(), ["label", "score"]),
    (TokenClassification(), ["words"]),
    (QuestionAnswering(), ["answers", "no_answer_score"]),
    (MultipleChoice(), ["choice", "scores"]),
    (FillMask(), ["fills"]),
    (LmScoring(), ["num_tokens", "log_likelihood", "perplexity"]),
    (TextGeneration(), ["generated"]),
]


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        *PLAIN_COLUMNS,
        (FeatureExtraction(windows="each"), ["embeddings"]),
        (FeatureExtraction(dtype="int8", calibration="sample"), ["embedding"]),
        (TextClassification(top_k=1), ["label", "score", "top"]),
        (TextClassification(top_k=2, scores=True), ["label", "score", "top", "scores"]),
        (TextClassification(problem="multi-label"), ["labels"]),
        (TextClassification(problem="multi-label", scores=True), ["labels", "scores"]),
        (TextClassification(problem="regression"), ["values"]),
        (TokenClassification(aggregate="entity"), ["entities"]),
    ],
)
def test_columns_of_a_task_have_its_prefix(task, columns):
    assert task.columns == columns
    assert task.model_copy(update={"prefix": "x_"}).columns == [f"x_{column}" for column in columns]


def test_columns_of_every_task_are_tested():
    assert {task.kind for task, _ in PLAIN_COLUMNS} == set(TASKS)


def test_columns_are_ordered_as_ids_kept_columns_counts_and_results(load):
    assert load(MINIMAL, "input.keep=[url]").columns == ["file", "row", "url", "embedding"]
    assert load(MINIMAL, "input.keep=[url]", "input.id=doc").columns == ["doc", "url", "embedding"]
    counts = ["num_tokens", "num_truncated", "num_unknown"]
    assert load(MINIMAL, "input.keep=[url]", "output.token_counts=true").columns == [
        *("file", "row", "url"), *counts, "embedding",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "columns", "expected"),
    [
        ("[feature-extraction, feature-extraction]", "", ["tasks.1: feature-extraction writes embedding, and so does tasks.0 (feature-extraction); set the prefix of the task, as in prefix: my_"]),
        ("[text-classification, text-classification: {top_k: 2}]", "", ["tasks.1: text-classification writes label, score, and so does tasks.0 (text-classification); set the prefix of the task, as in prefix: my_"]),
        ("[text-classification, text-classification: {prefix: a_}]", "", []),
        ("[token-classification, token-classification: {aggregate: entity}]", "", []),
        ("[text-classification]", "keep: [score]", ["tasks.0: text-classification writes score, and so does input.keep; set the prefix of the task, as in prefix: my_, or rename the kept column, as in keep: {source_score: score}"]),
        ("[text-classification]", "keep: [top]", []),
        ("[text-classification: {top_k: 2}]", "keep: [top]", ["tasks.0: text-classification writes top, and so does input.keep; set the prefix of the task, as in prefix: my_, or rename the kept column, as in keep: {source_top: top}"]),
        ("[text-classification: {prefix: a_}]", "keep: [a_label]", ["tasks.0: text-classification writes a_label, and so does input.keep; set the prefix of the task, as in prefix: my_, or rename the kept column, as in keep: {source_a_label: a_label}"]),
        ("[text-classification: {scores: true}, text-classification: {problem: multi-label, scores: true}]", "", ["tasks.1: text-classification writes scores, and so does tasks.0 (text-classification); set the prefix of the task, as in prefix: my_"]),
        ("[question-answering, question-answering: {top_k: 2}]", "text: [q, c]", ["tasks.1: question-answering writes answers, no_answer_score, and so does tasks.0 (question-answering); set the prefix of the task, as in prefix: my_"]),
        ("[feature-extraction, feature-extraction: {windows: each}]", "", []),
        ("[lm-scoring: {prefix: a_}]", "keep: [num_tokens]", []),
        ("[lm-scoring]", "keep: [num_tokens]", ["tasks.0: lm-scoring writes num_tokens, and so does input.keep; set the prefix of the task, as in prefix: my_, or rename the kept column, as in keep: {source_num_tokens: num_tokens}"]),
        ("[text-classification]", "id: label", ["tasks.0: text-classification writes label, and so does the row's id; set the prefix of the task, as in prefix: my_"]),
        ("[feature-extraction]", "{id: a, keep: [b, a]}", ["input.keep.1: a is input.id, which is always in the output; remove it from keep"]),
        ("[feature-extraction]", "keep: [a, b, a]", ["input.keep.2: a is listed twice; remove one"]),
        ("[feature-extraction]", "keep: [row]", ["input.keep.0: without input.id, the output has its own column row; set input.id"]),
        ("[feature-extraction]", "{id: a, keep: [row, file]}", []),
        ("[feature-extraction, feature-extraction]", "keep: [a, a]", ["input.keep.1: a is listed twice; remove one", "tasks.1: feature-extraction writes embedding, and so does tasks.0 (feature-extraction); set the prefix of the task, as in prefix: my_"]),
    ],
)  # fmt: skip
def test_task_that_writes_an_existing_column_is_refused(load, problems, tasks, columns, expected):
    given = yaml.safe_load(columns) or {}
    text = yaml.safe_dump({**yaml.safe_load(MINIMAL), "tasks": yaml.safe_load(tasks)})
    overrides = [f"input.{key}={json.dumps(value)}" for key, value in given.items()]
    if not expected:
        columns = load(text, *overrides).columns
        assert len(columns) == len(set(columns))
    else:
        assert sorted(line.split(": ", 1)[1] for line in problems(text, *overrides)) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["tasks=[lm-scoring]"], ["tasks.0: lm-scoring writes num_tokens, and so does output.token_counts; set the prefix of the task, as in prefix: my_"]),
        (["tasks=[feature-extraction, lm-scoring: {prefix: a_}]"], []),
        (["input.keep=[num_unknown, a, num_tokens]"], ["output.token_counts: the output has num_unknown, num_tokens from the input; rename that column, as in keep: {source_num_unknown: num_unknown}, or remove token_counts"]),
        (["tasks=[feature-extraction: {prefix: num_}]", "input.keep=[tokens]"], []),
    ],
)  # fmt: skip
def test_token_counts_with_the_name_of_another_column_are_refused(load, problems, overrides, expected):
    overrides = ["output.token_counts=true", *overrides]
    if expected:
        assert [line.split(": ", 1)[1] for line in problems(MINIMAL, *overrides)] == expected
    else:
        columns = load(MINIMAL, *overrides).columns
        assert len(columns) == len(set(columns))


def test_duplicate_columns_are_reported_along_with_other_problems(problems):
    text = MINIMAL.replace("- feature-extraction", "- feature-extraction\n  - feature-extraction") + "zzz: 1\n"
    assert [line.split(":")[1] for line in problems(text)] == ["8", "10"]
