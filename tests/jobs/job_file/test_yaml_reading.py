import pytest
import yaml

from jobs.job_file.yaml_scalars import Loader
from pipelines.job.input import FixedLang
from tests.jobs.job_file.example_jobs import MINIMAL


@pytest.mark.parametrize("word", ["no", "No", "off", "yes", "on", "Y", "1:30", "0512", "1_000", "0b1", "2024-01-31"])
def test_text_that_yaml_1_1_reads_as_a_boolean_number_or_date_is_read_as_written(load, word):
    assert load(MINIMAL.replace("lang: lang", f"lang: {{fixed: {word}}}")).input.lang == FixedLang(fixed=word)
    assert load(MINIMAL.replace("lang: lang", f"lang: {word}")).input.lang == word
    assert load(MINIMAL.replace("lang: lang", f"lang: lang\n  keep:\n    - a\n    - {word}")).input.keep == ["a", word]
    assert load(MINIMAL, f"input.keep=[{word}]").input.keep == [word]


@pytest.mark.parametrize("number", ["0512", "+0512", "010", "08", "1:30", "190:20:30", "1_000", "0b11", "00"])
def test_number_that_the_versions_of_yaml_read_differently_is_refused_where_a_number_is_expected(problems, number):
    advice = "write numbers in decimal digits, without leading zeros"
    assert problems(f"{MINIMAL}tokenizer: {{max_length: {number}}}\n") == [
        f'job.yaml:9: tokenizer.max_length: got "{number}", expected a whole number; {advice}'
    ]
    assert problems(MINIMAL, f"batch.max_tokens={number}") == [
        f'--set batch.max_tokens: batch.max_tokens: got "{number}", expected auto or a whole number from 1; {advice}'
    ]


def test_numbers_of_yaml_1_2_are_read(load):
    for text, value in (("512", 512), ("+5", 5), ("0x10", 16), ("0o17", 15)):
        assert load(f"{MINIMAL}tokenizer: {{max_length: {text}}}").tokenizer.max_length == value
    for text, value in (("1e-3", 0.001), ("1.5E-1", 0.15), (".5", 0.5), ("0.", 0.0), ("!!float 1", 1.0)):
        assert load(f"{MINIMAL}policy: {{max_rejected: {text}}}").policy.max_rejected == value


def test_quoted_words_and_dates_are_text(load):
    assert load(MINIMAL.replace("lang: lang", 'lang: {fixed: "no"}')).input.lang == FixedLang(fixed="no")
    assert load(MINIMAL + "name: 2024-01-31").name == "2024-01-31"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "job.yaml: got nothing, expected a mapping"),
        ("just text", 'job.yaml: got "just text", expected a mapping'),
        ("- a", "job.yaml: got a list, expected a mapping"),
        ("a: 1\nb: [1\n", "job.yaml:3: not YAML"),
        ("a: b: c", "job.yaml:1: not YAML at column 5"),
        (
            "a:\n\tb: c",
            "job.yaml:2: not YAML at column 1: found character that cannot start any token; "
            "indent with spaces, not tabs",
        ),
        ("a: 1\n---\nb: 2", "job.yaml:2: not YAML"),
        ("a: *b", "job.yaml:1: not YAML"),
        ("a: \x07", "job.yaml:1: not YAML"),
        ("&a [*a]", "job.yaml:1: nested too deeply"),
        ("x: &x {y: *x}", "job.yaml:1: nested too deeply"),
        ("x: " + "[" * 30 + "]" * 30, "job.yaml:1: nested too deeply"),
        ("- " * 5_000, "job.yaml:1: n"),
        ("x: " + "[" * 100_000, "job.yaml:1: n"),
        ("x: !!int seven", 'job.yaml:1: "seven" cannot be read as int'),
        ("x: !!int 0512", 'job.yaml:1: "0512" cannot be read as int'),
        ("x: !!bool yes", 'job.yaml:1: "yes" cannot be read as bool'),
        ("x: 0x" + "f" * 9000, "job.yaml:1: "),
        ("x: " + "9" * 9000, "job.yaml:1: "),
    ],
)
def test_text_that_is_not_a_job_file_is_reported_on_one_short_line(problems, text, start):
    (line,) = problems(text)
    assert line.startswith(start)
    assert len(line) < 300


def test_nested_aliases_are_rejected_before_they_fill_the_memory(problems):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (line,) = problems("\n".join(lines))
    assert "more than 100000 values" in line


def test_anchors_are_resolved_and_merge_keys_are_rejected(load, problems):
    text = MINIMAL.replace(
        "- feature-extraction",
        "- text-classification: {prefix: a_, head: &head h}\n  - text-classification: {prefix: b_, head: *head}",
    )
    assert [task.head for task in load(text).tasks] == ["h", "h"]
    (line,) = problems(MINIMAL.replace("{checkpoint: ckpt}", "&m {checkpoint: ckpt}") + "batch: {<<: *m}\n")
    assert line == "job.yaml:9: batch.<< is not a setting; batch has max_tokens, invariant"


def test_keys_that_are_not_text_are_reported(problems):
    lines = problems(MINIMAL + "true: 1\n3: 4\n? [a]\n: b\n")
    assert [line.partition(";")[0] for line in lines] == [
        'job.yaml:9: the job has a key that YAML does not read as text, "true"',
        'job.yaml:10: the job has a key that YAML does not read as text, "3"',
        "job.yaml:11: the job has a key that YAML does not read as text, a list or mapping",
    ]


@pytest.mark.parametrize("text", ["x: " + "[" * 5000 + "]" * 5000, "- " * 5000, MINIMAL + "zzz: 1", "a: !!binary aGk="])
def test_pyyaml_without_libyaml_reports_errors_at_the_same_lines(problems, monkeypatch, text):
    with_libyaml = [line.partition(": ")[0] for line in problems(text)]
    pure = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": Loader.yaml_implicit_resolvers})
    monkeypatch.setattr("jobs.job_file.yaml_reader.Loader", pure)
    assert [line.partition(": ")[0] for line in problems(text)] == with_libyaml
