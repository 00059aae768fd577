# ruff: noqa: E501 - a message stands on one line here, as its reader gets it
import json

import pytest
import yaml

from pipelines.job import FeatureExtraction, TextClassification, TokenClassification
from tests.jobs.job_files import MINIMAL


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        (FeatureExtraction(), ["embedding"]),
        (TextClassification(), ["label", "score"]),
        (TextClassification(top_k=1), ["label", "score", "top"]),
        (TextClassification(top_k=2, scores=True, name="x"), ["x_label", "x_score", "x_top", "x_scores"]),
        (TokenClassification(), ["words"]),
        (TokenClassification(aggregate="entity", name="ner"), ["ner_entities"]),
    ],
)
def test_a_task_tells_its_columns(task, columns):
    assert task.columns == columns


def test_the_output_has_what_identifies_a_row_then_what_is_kept_then_results(load):
    assert load(MINIMAL, "input.keep=[url]").columns == ["file", "row", "url", "embedding"]
    assert load(MINIMAL, "input.keep=[url]", "input.id=doc").columns == ["doc", "url", "embedding"]


@pytest.mark.parametrize(
    ("tasks", "columns", "expected"),
    [
        ("[feature-extraction, feature-extraction]", "", ["tasks.1: feature-extraction writes embedding, and so does tasks.0 (feature-extraction); set the task's name, which goes before its columns"]),
        ("[text-classification, text-classification: {top_k: 2}]", "", ["tasks.1: text-classification writes label, score, and so does tasks.0 (text-classification); set the task's name, which goes before its columns"]),
        ("[text-classification, text-classification: {name: a}]", "", []),
        ("[token-classification, token-classification: {aggregate: entity}]", "", []),
        ("[text-classification]", "keep: [score]", ["tasks.0: text-classification writes score, and so does input.keep; set the task's name, which goes before its columns"]),
        ("[text-classification]", "keep: [top]", []),
        ("[text-classification: {top_k: 2}]", "keep: [top]", ["tasks.0: text-classification writes top, and so does input.keep; set the task's name, which goes before its columns"]),
        ("[text-classification: {name: a}]", "keep: [a_label]", ["tasks.0: text-classification writes a_label, and so does input.keep; set the task's name, which goes before its columns"]),
        ("[text-classification]", "id: label", ["tasks.0: text-classification writes label, and so does the row's id; set the task's name, which goes before its columns"]),
        ("[feature-extraction]", "{id: a, keep: [b, a]}", ["input.keep.1: a is input.id, which the output has anyway; remove it from keep"]),
        ("[feature-extraction]", "keep: [a, b, a]", ["input.keep.2: a is kept twice; remove one"]),
        ("[feature-extraction]", "keep: [row]", ["input.keep.0: without input.id the output has a column row of its own; set input.id"]),
        ("[feature-extraction]", "{id: a, keep: [row, file]}", []),
        ("[feature-extraction, feature-extraction]", "keep: [a, a]", ["input.keep.1: a is kept twice; remove one", "tasks.1: feature-extraction writes embedding, and so does tasks.0 (feature-extraction); set the task's name, which goes before its columns"]),
    ],
)  # fmt: skip
def test_no_two_columns_of_the_output_share_a_name(load, problems, tasks, columns, expected):
    given = yaml.safe_load(columns) or {}
    text = yaml.safe_dump({**yaml.safe_load(MINIMAL), "tasks": yaml.safe_load(tasks)})
    overrides = [f"input.{key}={json.dumps(value)}" for key, value in given.items()]
    if not expected:
        columns = load(text, *overrides).columns
        assert len(columns) == len(set(columns))
    else:
        assert sorted(line.split(": ", 1)[1] for line in problems(text, *overrides)) == expected


def test_a_clash_of_columns_is_told_along_with_other_problems(problems):
    text = MINIMAL.replace("- feature-extraction", "- feature-extraction\n  - feature-extraction") + "zzz: 1\n"
    assert [line.split(":")[1] for line in problems(text)] == ["8", "10"]
