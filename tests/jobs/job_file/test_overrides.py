# ruff: noqa: E501 - a message is on one line
import pytest

from pipelines.job.input import FixedLang
from pipelines.tasks import FeatureExtraction, TextClassification, TokenClassification
from tests.jobs.job_file.example_jobs import FULL, MINIMAL


def test_override_values_are_yaml_and_the_last_one_of_a_key_is_used(load):
    job = load(
        MINIMAL,
        "batch.max_tokens=8192",
        "input.keep=[a,b]",
        "input.lang={fixed: de}",
        "tasks.0.feature-extraction.pooling=max",
        "tasks.0.feature-extraction.normalize=false",
        'input.filter=lang == "de" and x = 1'.replace(" = ", " == "),
        "output.path=/tmp/a=b",
        "name=first",
        "name=last",
    )
    assert job.batch.max_tokens == 8192
    assert job.input.keep == ["a", "b"]
    assert job.input.lang == FixedLang(fixed="de")
    assert job.tasks == [FeatureExtraction(pooling="max", normalize=False)]
    assert job.input.filter == 'lang == "de" and x == 1'
    assert job.output.path == "/tmp/a=b"
    assert job.name == "last"


def test_overrides_change_items_of_lists_and_settings_from_earlier_overrides(load):
    job = load(
        FULL, "tasks.1.text-classification.top_k=", "input.path.1=x", "tasks.3.token-classification.aggregate=entity"
    )
    assert job.tasks[1] == TextClassification(prefix="topic_", head="s3://heads/topic", scores=True)
    assert job.tasks[3] == TokenClassification(aggregate="entity")
    assert job.input.path == ["s3://corpus/news/", "x"]
    job = load(MINIMAL, "tasks=[text-classification: {}]", "tasks.0.text-classification.top_k=2")
    assert job.tasks == [TextClassification(top_k=2)]


def test_override_replaces_an_invalid_or_missing_setting_of_the_file(load):
    assert load(MINIMAL.replace("lang: lang", "lang: 7"), "input.lang=lang").input.lang == "lang"
    assert load(MINIMAL.replace("output: {path: out}", ""), "output.path=x").output.path == "x"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tokenizer.max_lenght=3", "tokenizer.max_lenght: tokenizer.max_lenght is not a setting; did you mean max_length?"),
        ("tokenizr.zh=jieba", "tokenizr.zh: tokenizr is not a setting; did you mean tokenizer?"),
        ("input.lang={fixed: 0x10}", 'input.lang: input.lang.fixed: got 16 (YAML reads 0x10 as 16), expected text; write "0x10" in quotes'),
        ("tasks.0.feature-extraction.poolin=max", "tasks.0.feature-extraction.poolin: tasks.0.feature-extraction.poolin is not a setting; did you mean pooling?"),
        ("tasks.0.pooling=max", "tasks.0.pooling: tasks.0 is feature-extraction; write tasks.0.feature-extraction.pooling"),
        ("tasks.1.text-classification.top_k=1", "tasks.1.text-classification.top_k: tasks has no item 1, only 1, counted from 0; set the whole list"),
        ("input.lang.fixed=de", "input.lang.fixed: input.lang is \"lang\", not a mapping; set all of it, as in --set 'input.lang={fixed: …}'"),
        ("batch.max_tokens", "batch.max_tokens: expected KEY=VALUE, such as output.path=/tmp/out"),
        ("name=[", "name: not YAML at column 1: did not find expected node content; quote texts that contain : # [ or {"),
    ],
)  # fmt: skip
def test_invalid_override_is_reported_on_one_line_with_its_key(problems, override, expected):
    assert problems(MINIMAL, override) == [f"--set {expected}"]


def test_error_in_an_overridden_value_names_the_override_and_not_a_line_of_the_file(problems):
    text = MINIMAL.replace("lang: lang", "lang:\n    fixed: de")
    assert problems(text, "input.lang={}") == [
        "--set input.lang: input.lang.fixed is missing: the language code of all rows, such as de"
    ]


def test_key_with_too_many_levels_is_rejected(problems):
    (line,) = problems(MINIMAL, "a." * 5000 + "b=1")
    assert line.endswith("expected KEY=VALUE, such as output.path=/tmp/out")
