# ruff: noqa: E501 - a message is on one line
"""Settings that are valid alone but not together, and the order of messages."""

import pytest

from tests.jobs.job_file.example_jobs import MINIMAL


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["tasks=[question-answering]"], ["input.text: question-answering needs two columns, [question, context]"]),
        (["tasks=[question-answering]", "input.text=[a, b, c]"], ["input.text: 3 columns are read as a premise and its choices, which only multiple-choice supports; name one or two", "input.text: question-answering needs two columns, [question, context]"]),
        (["tasks=[question-answering]", "input.text=[a, b]"], []),
        (["tasks=[multiple-choice]"], ["input.text: multiple-choice needs [premise, choice, choice …], or [premise, column of lists]"]),
        (["tasks=[multiple-choice]", "input.text=[a, b]"], []),
        (["tasks=[multiple-choice, multiple-choice: {prefix: x_}]", "input.text=[a, b, c, d]"], []),
        (["tasks=[multiple-choice, fill-mask, feature-extraction]", "input.text=[a, b]"], ["tasks: multiple-choice reads a row as several sequences, feature-extraction, fill-mask as one; run them as two jobs"]),
        (["tasks=[multiple-choice]", "input.text=[a, b]", "tokenizer.on_overflow=window"], ["tasks.0: multiple-choice cannot merge windows; set tokenizer.on_overflow to truncate or reject"]),
        (["tasks=[feature-extraction, text-generation]", "tokenizer.on_overflow=window"], ["tasks.1: text-generation cannot merge windows; set tokenizer.on_overflow to truncate or reject"]),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=66"], ["tokenizer.overlap_tokens: got 64, but a window has room for 64 tokens besides the special ones; lower it"]),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=67"], []),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=67", "input.text=[a, b]"], ["tokenizer.overlap_tokens: got 64, but a window has room for 64 tokens besides the special ones; lower it"]),
        (["tokenizer.max_length=3"], []),
        (["tasks=[fill-mask, fill-mask: {prefix: x_, mask: _}]"], ["tasks: all tasks of a job read the same text; set one mask for all, got <mask>, _"]),
        (["tasks=[fill-mask: {mask: _}, fill-mask: {prefix: x_, mask: _}]"], []),
    ],
)  # fmt: skip
def test_settings_that_exclude_each_other_are_all_reported(load, problems, overrides, expected):
    if expected:
        assert sorted(line.split(": ", 1)[1] for line in problems(MINIMAL, *overrides)) == expected
    else:
        load(MINIMAL, *overrides)


def test_conflict_is_reported_at_the_setting_to_change(problems):
    text = MINIMAL.replace("feature-extraction", "text-generation")
    text += "tokenizer:\n  on_overflow: window\n  overlap_tokens: 600\n"
    assert [line.split(":")[1] for line in problems(text)] == ["7", "11"]


def test_all_problems_are_listed_in_file_order(problems):
    text = MINIMAL.replace("lang: lang", "lang: 7").replace("checkpoint", "chekpoint")
    text += "tokenizer:\n  zh: x\n  max_chars: 0\ntokenizer2: {}\npolicy: {}\npolicy: {max_rejected: x}\n"
    lines = problems(text, "batch.max_tokens=x", "name=my job")
    assert [line.split(": ")[0] for line in lines] == [
        *(f"job.yaml:{number}" for number in (4, 5, 10, 11, 12, 14, 14)),
        "--set batch.max_tokens",
        "--set name",
    ]
    assert (
        lines[1] == "job.yaml:5: model.chekpoint is not a setting; did you mean checkpoint?"
    )  # and not "is missing" too
    assert lines[5] == "job.yaml:14: policy is given twice, first at line 13; remove one"


def test_invalid_filter_is_reported_when_the_job_is_loaded(problems):
    (line,) = problems(MINIMAL.replace("lang: lang", "lang: lang\n  filter: year >> 2024"))
    assert line.startswith("job.yaml:5: input.filter: year >> 2024 is not part of the filter language")
