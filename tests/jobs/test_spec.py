# ruff: noqa: E501 - a message stands on one line here, as its reader gets it
import json
import pickle

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import SpecError, dump_job, load_job
from pipelines.job import (
    BatchSpec,
    ComputeSpec,
    FeatureExtraction,
    FixedLang,
    InputSpec,
    Job,
    ModelSpec,
    OutputSpec,
    PolicySpec,
    TextClassification,
    TokenClassification,
    TokenizerSpec,
)
from tests.jobs.job_files import FULL, MINIMAL, attempt


def test_a_few_lines_are_a_job_and_the_defaults_serve(load):
    assert load(MINIMAL) == Job(
        name="xlm-job",
        input=InputSpec(path="data/", id=None, text="body", lang="lang", filter=None, keep=[]),
        model=ModelSpec(checkpoint="ckpt", precision="auto"),
        tasks=[FeatureExtraction(name=None, pooling="mean", normalize=True, dtype="float32")],
        tokenizer=TokenizerSpec(
            max_length=512,
            on_overflow="truncate",
            zh="jieba",
            ja="kytea",
            kytea_model=None,
            compat="default",
            max_chars=1_000_000,
        ),
        batch=BatchSpec(max_tokens="auto", invariant=False),
        output=OutputSpec(path="out", rows_per_shard=16384),
        policy=PolicySpec(
            unknown_lang="reject", empty_text="reject", duplicate_ids="error", max_rejected=0.01, max_failed_shards=0
        ),
        compute=ComputeSpec(
            address="local", tokenizers="auto", models="auto", gpus_per_model=1.0, object_store_mb=None
        ),
    )


def test_every_setting_can_be_set(load):
    job = load(FULL)
    assert job.input == InputSpec(
        path=["s3://corpus/news/", "more/*.parquet"],
        id="doc_id",
        text=["title", "body"],
        lang=FixedLang(fixed="no"),
        filter='year >= 2024 and section in ["a", "b"]',
        keep=["url", "date"],
    )
    assert job.tasks == [
        FeatureExtraction(pooling="max", normalize=False, dtype="float16"),
        TextClassification(name="topic", head="s3://heads/topic", top_k=3, scores=True),
        TextClassification(name="tone", head="s3://heads/tone"),
        TokenClassification(),
    ]
    defaults = load(MINIMAL)
    for section in ("tokenizer", "batch", "output", "policy", "compute"):
        changed = dict(getattr(job, section))
        same = {key for key, value in dict(getattr(defaults, section)).items() if changed[key] == value}
        assert same <= {"empty_text"}


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_a_job_survives_being_dumped_copied_to_json_and_pickled(load, text):
    job = load(text)
    assert load(dump_job(job)) == job
    assert Job.model_validate(json.loads(job.model_dump_json())) == job
    assert pickle.loads(pickle.dumps(job)) == job


def test_a_dump_tells_shares_from_counts_and_quotes_what_yaml_would_misread(load):
    for value in (1, 1.0, 0, 0.0, 1e-7):
        job = load(MINIMAL).model_copy(update={"policy": PolicySpec(max_rejected=value)})
        policy = load(dump_job(job)).policy
        assert (policy.max_rejected, type(policy.max_rejected)) == (value, type(value))
    for name in (
        "no",
        "2024-01-01",
        "1",
        "null",
        "a: b",
        "#",
        "é\u2028\n",
        "\x85",
        "\ufeffa",
        "中文",
        "'",
        "1e5",
        "~",
        "*x",
        " x ",
    ):
        job = load(MINIMAL)
        job = job.model_copy(update={"input": InputSpec(path="p", text=name, lang=FixedLang(fixed=name), keep=[name])})
        assert load(dump_job(job)) == job
    assert "中文" in dump_job(load(MINIMAL, "input.text=中文"))  # as a person reads it


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.floats(0, 1), st.integers(1, 2**62))
def test_any_setting_survives_a_dump(tmp_path_factory, text, share, count):
    job = Job(
        input=InputSpec(path=[text], text=[text, "x"], lang=text, id=text),
        model=ModelSpec(checkpoint=text),
        tasks=[FeatureExtraction(), TokenClassification(head=text)],
        output=OutputSpec(path=text, rows_per_shard=count),
        policy=PolicySpec(max_rejected=share),
        compute=ComputeSpec(gpus_per_model=share),
    )
    path = tmp_path_factory.mktemp("dump") / "job.yaml"
    path.write_bytes(dump_job(job).encode())
    assert load_job(path) == job


def test_a_job_cannot_be_changed(load):
    job = load(MINIMAL)
    with pytest.raises(pydantic.ValidationError):
        job.tokenizer.max_length = 3


def test_a_task_may_be_a_name_a_mapping_or_a_mapping_of_nothing(load):
    forms = ["feature-extraction", "{feature-extraction: {}}", "{feature-extraction: }", "feature-extraction:"]
    jobs = [load(MINIMAL.replace("- feature-extraction", f"- {form}")) for form in forms]
    assert all(job == jobs[0] for job in jobs)


# --- what is wrong, line by line ---


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  text: body", "  txet: body", ["job.yaml:3: input.txet is not a setting; did you mean text?"]),
        ("output:", "Output:", ["job.yaml:8: Output is not a setting; did you mean output?"]),
        ("  lang: lang\n", "", ["job.yaml:1: input.lang is missing: column with each row's language code, or {fixed: CODE} for one language throughout"]),
        ("{checkpoint: ckpt}", "ckpt", ['job.yaml:5: model: got "ckpt", expected a mapping with checkpoint, precision']),
        ("{checkpoint: ckpt}", "", ["job.yaml:5: model: got nothing, expected a mapping with checkpoint, precision"]),
        ("ckpt}", "[a]}", ["job.yaml:5: model.checkpoint: got a list, expected text"]),
        ("path: data/", "path: {a: b}", ["job.yaml:2: input.path: got a mapping, expected a path or a list of paths"]),
        ("path: data/", "path: []", ["job.yaml:2: input.path: got an empty list, expected parquet file, directory or glob, or a list of them; local, or the URL of an object store"]),
        ("path: data/", "path:\n    - a\n    - 7", ['job.yaml:4: input.path.1: got 7, expected text; write "7" in quotes']),
        ("text: body", "text: [a, b, c]", ["job.yaml:3: input.text: choices (3 columns) are not supported yet; name one column, or two for pairs"]),
        ("text: body", "text: [a]", ["job.yaml:3: input.text: a list names the two columns of a pair; write a single column without brackets"]),
        ("text: body", "text: [a, _xlm_b]", ["job.yaml:3: input.text.1: _xlm_b is not free, since columns that begin with _xlm_ are the job's own; rename it"]),
        ("lang: lang", "lang: lang\n  id: _xlm_row", ["job.yaml:5: input.id: _xlm_row is not free, since columns that begin with _xlm_ are the job's own; rename it"]),
        ("lang: lang", "lang: {fixd: de}", ["job.yaml:4: input.lang.fixd is not a setting; did you mean fixed?"]),
        ("lang: lang", "lang: {}", ["job.yaml:4: input.lang.fixed is missing: the language code of every row, such as de"]),
        ("lang: lang", "lang: [de]", ["job.yaml:4: input.lang: got a list, expected a column or {fixed: CODE}"]),
        ("- feature-extraction", "- feature-extractoin", ["job.yaml:7: tasks.0: feature-extractoin is not a task; did you mean feature-extraction?"]),
        ("- feature-extraction", "- translation: {}", ["job.yaml:7: tasks.0: translation is not a task; expected one of feature-extraction, text-classification, token-classification, alone or as TASK: {settings}"]),
        ("- feature-extraction", "- feature-extraction:\n    pooling: max", ["job.yaml:7: tasks.0: pooling stands beside feature-extraction; indent a task's settings below its name"]),
        ("- feature-extraction", "- feature-extraction:\n      poolng: max", ["job.yaml:8: tasks.0.feature-extraction.poolng is not a setting; did you mean pooling?"]),
        ("- feature-extraction", "- feature-extraction: {pooling: men}", ['job.yaml:7: tasks.0.feature-extraction.pooling: got "men", expected first, mean, last or max; did you mean mean?']),
        ("- feature-extraction", "- text-classification: {top_k: 0}", ["job.yaml:7: tasks.0.text-classification.top_k: got 0, expected at least 1"]),
        ("\n  - feature-extraction", " feature-extraction", ['job.yaml:6: tasks: got "feature-extraction", expected a list, as in tasks: ["feature-extraction"]']),
        ("\n  - feature-extraction", " []", ["job.yaml:6: tasks: got an empty list, expected what to compute; one pass of the trunk serves all tasks"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_gets_one_line(problems, old, new, expected):
    assert old in MINIMAL
    assert problems(MINIMAL.replace(old, new)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenizer: {max_lenght: 7}", "tokenizer.max_lenght is not a setting; did you mean max_length?"),
        ("max_length: 7", "max_length is not a setting; did you mean tokenizer.max_length?"),
        ("zzz: 7", "zzz is not a setting; a job has name, input, model, tasks, tokenizer, batch, output, policy, compute"),
        ("tokenizer: {max_length: 2}", "tokenizer.max_length: got 2, expected at least 3"),
        ('tokenizer: {max_length: "512"}', 'tokenizer.max_length: got "512", expected a whole number without quotes'),
        ("tokenizer: {max_length: 5.5}", "tokenizer.max_length: got 5.5, expected a whole number"),
        ("tokenizer: {max_length: yes}", "tokenizer.max_length: got true (YAML reads yes as true), expected a whole number"),
        ("tokenizer: {on_overflow: window}", 'tokenizer.on_overflow: got "window", expected truncate or reject'),
        ("tokenizer: {kytea_model: 1}", 'tokenizer.kytea_model: got 1, expected text; write "1" in quotes'),
        ("batch: {max_tokens: lots}", 'batch.max_tokens: got "lots", expected auto or a whole number from 1'),
        ("batch: {max_tokens: 0}", "batch.max_tokens: got 0, expected at least 1"),
        ("batch: {max_tokens: true}", "batch.max_tokens: got true, expected auto or a whole number from 1"),
        ('batch: {invariant: "yes"}', 'batch.invariant: got "yes", expected true or false without quotes'),
        ("policy: {max_rejected: 1.5}", "policy.max_rejected: got 1.5, expected at most 1"),
        ("policy: {max_rejected: -1}", "policy.max_rejected: got -1, expected at least 0"),
        ("policy: {max_rejected: few}", 'policy.max_rejected: got "few", expected a share such as 0.01, or a whole number of rows'),
        ("policy: {max_rejected: .nan}", "policy.max_rejected: got NaN (YAML reads .nan as NaN), expected a finite number"),
        ("policy: {empty_text: neutral}", 'policy.empty_text: got "neutral", expected reject'),
        ("compute: {gpus_per_model: 1.5}", "compute.gpus_per_model: got 1.5, but only up to 1 may a GPU be shared; write a fraction or a whole number"),
        ("name: my job", 'name: got "my job", expected at most 63 letters, digits, dots, dashes and underscores, a letter or digit first'),
        ("name: 2024", 'name: got 2024, expected text; write "2024" in quotes'),
        ("batch: {max_tokens: 9223372036854775808}", '"9223372036854775808" needs more than 64 bits; write a smaller number'),
        ("policy: {empty_text: }", "policy.empty_text: got nothing, expected reject"),
        ("name: 010", 'name: got 8 (YAML reads 010 as 8), expected text; write "010" in quotes'),
        ("policy: !!set {a}", "the tag !!set is not supported; write plain values"),
        ("policy: !!python/name:os.system x", "the tag !!python/name:os.system is not supported; write plain values"),
    ],
)  # fmt: skip
def test_a_wrong_setting_gets_one_line(problems, line, expected):
    assert problems(f"{MINIMAL}{line}\n") == [f"job.yaml:9: {expected}"]


def test_all_problems_are_listed_in_the_order_of_the_file(problems):
    text = MINIMAL.replace("lang: lang", "lang: no").replace("checkpoint", "chekpoint")
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


def test_a_filter_that_cannot_be_read_is_found_before_any_data_is_touched(problems):
    (line,) = problems(MINIMAL.replace("lang: lang", "lang: lang\n  filter: year >> 2024"))
    assert line.startswith("job.yaml:5: input.filter: year >> 2024 is not part of the filter language")


@pytest.mark.parametrize("name", ["missing.yaml", ".", "binary.yaml", "nul\x00.yaml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(SpecError, match="cannot be read") as error:
        load_job(name)
    assert str(error.value).startswith(name.split("\x00")[0])


def test_environment_variables_are_not_expanded(load, monkeypatch):
    monkeypatch.setenv("SECRET", "value")
    assert load(MINIMAL, "output.path=$SECRET/${SECRET}").output.path == "$SECRET/${SECRET}"


# --- any input ---

TOKENS = """
input tasks lang fixed feature-extraction no 1 0.5 null a [] {} &a *a << : [ ] { } , !!int !x | > ' " # ? = . \\ud800
"""
WORDS = st.sampled_from([*TOKENS.split(), "", "- ", "\n", "  ", "? "])


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(), st.lists(WORDS).map("".join), st.lists(WORDS).map(lambda words: MINIMAL + "".join(words))),
    st.lists(st.lists(WORDS, max_size=6).map(".".join).map(lambda text: text.replace("=.", "=")), max_size=2),
)
def test_any_file_and_any_override_give_a_job_or_printable_lines(tmp_path_factory, text, overrides):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refusal = attempt(path, overrides)
    if refusal:
        assert refusal.args
        assert all(line.isprintable() for line in refusal.args)
