import pytest
import yaml

from pipelines.job.input import FixedLang
from tests.jobs.job_file.example_jobs import MINIMAL


@pytest.mark.parametrize("word", ["no", "No", "off", "yes", "on", "Y"])
def test_error_for_a_word_that_yaml_reads_as_boolean_shows_the_word_and_suggests_quotes(load, problems, word):
    if word == "Y":  # PyYAML reads Y as text, although YAML 1.1 defines it as a boolean
        assert load(MINIMAL.replace("lang: lang", f"lang: {{fixed: {word}}}")).input.lang == FixedLang(fixed="Y")
        return
    read = "false" if word.lower() in ("no", "off") else "true"
    got = f'got {read} (YAML reads {word} as {read}), expected %s; write "{word}" in quotes'
    assert problems(MINIMAL.replace("lang: lang", f"lang: {{fixed: {word}}}")) == [
        f"job.yaml:4: input.lang.fixed: {got % 'text'}"
    ]
    assert problems(MINIMAL.replace("lang: lang", f"lang: {word}")) == [
        f"job.yaml:4: input.lang: {got % 'a column or {fixed: CODE}'}"
    ]
    assert problems(MINIMAL.replace("lang: lang", f"lang: lang\n  keep:\n    - a\n    - {word}")) == [
        f"job.yaml:7: input.keep.1: {got % 'text'}"
    ]


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
        ("a: 1\n---\nb: 2", "job.yaml:2: not YAML"),
        ("a: *b", "job.yaml:1: not YAML"),
        ("a: \x07", "job.yaml:1: not YAML"),
        ("&a [*a]", "job.yaml:1: nested too deeply"),
        ("x: &x {y: *x}", "job.yaml:1: nested too deeply"),
        ("x: " + "[" * 30 + "]" * 30, "job.yaml:1: nested too deeply"),
        ("- " * 5_000, "job.yaml:1: n"),
        ("x: " + "[" * 100_000, "job.yaml:1: n"),
        ("x: !!int seven", 'job.yaml:1: "seven" cannot be read as int'),
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
        "- text-classification: {name: a, head: &head h}\n  - text-classification: {name: b, head: *head}",
    )
    assert [task.head for task in load(text).tasks] == ["h", "h"]
    (line,) = problems(MINIMAL.replace("{checkpoint: ckpt}", "&m {checkpoint: ckpt}") + "batch: {<<: *m}\n")
    assert line == "job.yaml:9: batch.<< is not a setting; batch has max_tokens, invariant"


def test_keys_that_are_not_text_are_reported(problems):
    lines = problems(MINIMAL + "on: 1\n3: 4\n? [a]\n: b\n")
    assert [line.partition(";")[0] for line in lines] == [
        'job.yaml:9: the job has a key that YAML does not read as text, "on"',
        'job.yaml:10: the job has a key that YAML does not read as text, "3"',
        "job.yaml:11: the job has a key that YAML does not read as text, a list or mapping",
    ]


@pytest.mark.parametrize("text", ["x: " + "[" * 5000 + "]" * 5000, "- " * 5000, MINIMAL + "zzz: 1", "a: !!binary aGk="])
def test_pyyaml_without_libyaml_reports_errors_at_the_same_lines(problems, monkeypatch, text):
    with_libyaml = [line.partition(": ")[0] for line in problems(text)]
    monkeypatch.setattr("jobs.job_file.yaml_reader.Loader", yaml.SafeLoader)
    assert [line.partition(": ")[0] for line in problems(text)] == with_libyaml
