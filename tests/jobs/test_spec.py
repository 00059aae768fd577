# ruff: noqa: E501 - a message stands on one line here, as its reader gets it
import copy
import json
import pickle

import jsonschema
import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import SpecError, dump_job, json_schema, load_job
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
from xlm_core.errors import FatalError

MINIMAL = """\
input:
  path: data/
  text: body
  lang: lang
model: {checkpoint: ckpt}
tasks:
  - feature-extraction
output: {path: out}
"""

FULL = """\
name: news-annotations
input:
  path: [s3://corpus/news/, "more/*.parquet"]
  id: doc_id
  text: [title, body]
  lang: {fixed: "no"}
  filter: year >= 2024 and section in ["a", "b"]
  keep: [url, date]
model: {checkpoint: hf://FacebookAI/xlm-mlm-100-1280, precision: bfloat16}
tasks:
  - feature-extraction: {pooling: max, normalize: false, dtype: float16}
  - text-classification: {head: s3://heads/topic, top_k: 3, scores: true, name: topic}
  - text-classification: {head: s3://heads/tone, name: tone}
  - token-classification:
tokenizer: {max_length: 256, on_overflow: reject, zh: rjieba, ja: fugashi, kytea_model: m.bin, compat: reference, max_chars: 9}
batch: {max_tokens: 4096, invariant: true}
output: {path: s3://out/news, rows_per_shard: 100}
policy: {unknown_lang: neutral, empty_text: reject, duplicate_ids: ignore, max_rejected: 1, max_failed_shards: 2}
compute: {address: auto, tokenizers: 4, models: 2, gpus_per_model: 0.5, object_store_mb: 2000}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides):
        (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
        return load_job("job.yaml", overrides)

    return load


@pytest.fixture
def problems(load):
    def problems(text, *overrides):
        with pytest.raises(SpecError) as error:
            load(text, *overrides)
        assert isinstance(error.value, FatalError)
        return str(error.value).split("\n")

    return problems


def attempt(path, overrides=()):
    try:
        load_job(path, overrides)
    except SpecError as error:
        return error
    return None


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


@pytest.mark.parametrize("word", ["no", "No", "off", "yes", "on", "Y"])
def test_a_word_that_yaml_takes_for_a_boolean_is_explained(load, problems, word):
    if word == "Y":  # text for this parser, whatever the YAML 1.1 page says
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


def test_a_word_in_quotes_and_a_date_are_text(load):
    assert load(MINIMAL.replace("lang: lang", 'lang: {fixed: "no"}')).input.lang == FixedLang(fixed="no")
    assert load(MINIMAL + "name: 2024-01-31").name == "2024-01-31"


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
        ("&a [*a]", "job.yaml:1: nests too deep"),
        ("x: &x {y: *x}", "job.yaml:1: nests too deep"),
        ("x: " + "[" * 30 + "]" * 30, "job.yaml:1: nests too deep"),
        ("- " * 5_000, "job.yaml:1: n"),
        ("x: " + "[" * 100_000, "job.yaml:1: n"),
        ("x: !!int seven", 'job.yaml:1: "seven" is not the number'),
        ("x: 0x" + "f" * 9000, "job.yaml:1: "),
        ("x: " + "9" * 9000, "job.yaml:1: "),
    ],
)
def test_what_is_no_job_at_all_gets_one_line(problems, text, start):
    (line,) = problems(text)
    assert line.startswith(start)
    assert len(line) < 300


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory(problems):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (line,) = problems("\n".join(lines))
    assert "more than 100000 values" in line


def test_anchors_serve_and_merge_keys_are_no_settings(load, problems):
    text = MINIMAL.replace(
        "- feature-extraction",
        "- text-classification: {name: a, head: &head h}\n  - text-classification: {name: b, head: *head}",
    )
    assert [task.head for task in load(text).tasks] == ["h", "h"]
    (line,) = problems(MINIMAL.replace("{checkpoint: ckpt}", "&m {checkpoint: ckpt}") + "batch: {<<: *m}\n")
    assert line == "job.yaml:9: batch.<< is not a setting; batch has max_tokens, invariant"


def test_keys_that_are_not_text_are_named(problems):
    lines = problems(MINIMAL + "on: 1\n3: 4\n? [a]\n: b\n")
    assert [line.partition(";")[0] for line in lines] == [
        'job.yaml:9: the job has a key that YAML does not read as text, "on"',
        'job.yaml:10: the job has a key that YAML does not read as text, "3"',
        "job.yaml:11: the job has a key that YAML does not read as text, a list or mapping",
    ]


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


# --- columns of the output ---


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


# --- overrides ---


def test_overrides_are_yaml_and_reach_every_setting(load):
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


def test_overrides_reach_into_lists_and_into_settings_made_by_overrides(load):
    job = load(
        FULL, "tasks.1.text-classification.top_k=", "input.path.1=x", "tasks.3.token-classification.aggregate=entity"
    )
    assert job.tasks[1] == TextClassification(name="topic", head="s3://heads/topic", scores=True)
    assert job.tasks[3] == TokenClassification(aggregate="entity")
    assert job.input.path == ["s3://corpus/news/", "x"]
    job = load(MINIMAL, "tasks=[text-classification: {}]", "tasks.0.text-classification.top_k=2")
    assert job.tasks == [TextClassification(top_k=2)]


def test_an_override_can_mend_what_is_wrong_in_the_file(load):
    assert load(MINIMAL.replace("lang: lang", "lang: no"), "input.lang=lang").input.lang == "lang"
    assert load(MINIMAL.replace("output: {path: out}", ""), "output.path=x").output.path == "x"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tokenizer.max_lenght=3", "tokenizer.max_lenght: tokenizer.max_lenght is not a setting; did you mean max_length?"),
        ("tokenizr.zh=jieba", "tokenizr.zh: tokenizr is not a setting; did you mean tokenizer?"),
        ("input.lang={fixed: no}", 'input.lang: input.lang.fixed: got false (YAML reads no as false), expected text; write "no" in quotes'),
        ("tasks.0.feature-extraction.poolin=max", "tasks.0.feature-extraction.poolin: tasks.0.feature-extraction.poolin is not a setting; did you mean pooling?"),
        ("tasks.0.pooling=max", "tasks.0.pooling: tasks.0 is feature-extraction; write tasks.0.feature-extraction.pooling"),
        ("tasks.1.text-classification.top_k=1", "tasks.1.text-classification.top_k: tasks has no item 1, only 1, counted from 0; set it whole"),
        ("input.lang.fixed=de", "input.lang.fixed: input.lang is \"lang\", not a mapping; set it whole, as in --set 'input.lang={fixed: …}'"),
        ("batch.max_tokens", "batch.max_tokens: expected KEY=VALUE, such as output.path=/tmp/out"),
        ("name=[", "name: not YAML at column 1: did not find expected node content; quote texts that hold : # [ or {"),
    ],
)  # fmt: skip
def test_a_wrong_override_gets_one_line_that_names_it(problems, override, expected):
    assert problems(MINIMAL, override) == [f"--set {expected}"]


def test_a_value_from_an_override_is_never_blamed_on_the_file(problems):
    text = MINIMAL.replace("lang: lang", "lang:\n    fixed: de")
    assert problems(text, "input.lang={}") == [
        "--set input.lang: input.lang.fixed is missing: the language code of every row, such as de"
    ]


def test_an_override_of_endless_depth_is_refused(problems):
    (line,) = problems(MINIMAL, "a." * 5000 + "b=1")
    assert line.endswith("expected KEY=VALUE, such as output.path=/tmp/out")


@pytest.mark.parametrize("text", ["x: " + "[" * 5000 + "]" * 5000, "- " * 5000, MINIMAL + "zzz: 1", "a: !!binary aGk="])
def test_pyyaml_without_libyaml_serves_as_well(problems, monkeypatch, text):
    with_libyaml = [line.partition(": ")[0] for line in problems(text)]
    monkeypatch.setattr("jobs.spec.Loader", yaml.SafeLoader)
    assert [line.partition(": ")[0] for line in problems(text)] == with_libyaml


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


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "auto", "de", "mean", "a b", "_xlm_a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["fixed", "head", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
SETTINGS = [
    f"{section}.{name}"
    for section, group in Job.model_json_schema()["$defs"].items()
    for section in [section.removesuffix("Spec").lower()]
    if section in Job.model_fields
    for name in group["properties"]
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*SETTINGS, *Job.model_fields, "tasks.0", "tasks.0.feature-extraction.name"]), PLAIN)
def test_the_schema_and_the_loader_agree_on_every_setting(tmp_path_factory, key, value):
    data = yaml.safe_load(MINIMAL)
    data["tasks"] = [{"feature-extraction": {}}]
    *groups, name = key.split(".")
    group = data
    for step in groups:
        group = group.setdefault(step, {}) if isinstance(group, dict) else group[int(step)]
    group[int(name) if isinstance(group, list) else name] = value
    path = tmp_path_factory.getbasetemp() / "agree.yaml"
    path.write_text(yaml.safe_dump(data))
    if key == "input.filter" and isinstance(value, str) and value:
        return  # a schema knows no grammar
    if isinstance(value, float) and value.is_integer():
        return  # JSON Schema calls 8.0 an integer, and the loader does not: 1.0 is a share of rows and 1 is a row
    assert SCHEMA.is_valid(data) == (attempt(path) is None)


SCHEMA = jsonschema.Draft202012Validator(json_schema())


def test_the_schema_is_a_schema_and_describes_every_setting():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema() == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for group in json_schema()["$defs"].values():
        for choice in group.get("oneOf", [group]):
            inner = choice.get("properties", {})
            for name, described in inner.items():
                if "-" in name:  # a task, whose settings stand one level down
                    assert all("description" in part for part in described["anyOf"][0]["properties"].values())
                else:
                    assert "description" in described, name


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_the_schema_accepts_jobs_and_their_dumps(load, text):
    for form in (text, dump_job(load(text))):
        assert [error.message for error in SCHEMA.iter_errors(yaml.safe_load(form))] == []


# --- the fingerprint ---

CHANGES = {
    "input.path=other": False,
    "input.id=doc": True,
    "input.text=other": True,
    "input.lang={fixed: de}": True,
    "input.filter=year > 1": True,
    "input.keep=[url]": True,
    "model.checkpoint=moved": False,
    "model.precision=float16": True,
    "tasks.0.feature-extraction.pooling=max": True,
    "tasks.0.feature-extraction.normalize=false": True,
    "tasks.0.feature-extraction.dtype=float16": True,
    "tasks.0.feature-extraction.name=x": True,
    "tasks.1.text-classification.head=moved": False,
    "tasks.1.text-classification.top_k=2": True,
    "tasks.1.text-classification.scores=true": True,
    "tasks=[feature-extraction]": True,
    "tokenizer.max_length=100": True,
    "tokenizer.on_overflow=reject": True,
    "tokenizer.zh=rjieba": True,
    "tokenizer.ja=fugashi": True,
    "tokenizer.kytea_model=moved": False,
    "tokenizer.compat=reference": True,
    "tokenizer.max_chars=5": True,
    "batch.max_tokens=5": False,
    "batch.invariant=true": True,
    "output.path=other": False,
    "output.rows_per_shard=5": True,
    "policy.unknown_lang=neutral": True,
    "policy.duplicate_ids=ignore": True,
    "policy.max_rejected=5": False,
    "policy.max_failed_shards=5": False,
    "compute.address=auto": False,
    "compute.tokenizers=5": False,
    "compute.models=5": False,
    "compute.gpus_per_model=0": False,
    "compute.object_store_mb=500": False,
    "name=other": False,
}


@pytest.mark.parametrize("override", CHANGES)
def test_the_fingerprint_changes_with_the_settings_that_change_results_and_no_others(load, override):
    base = load(MINIMAL, "tasks=[feature-extraction, text-classification]")
    changed = load(MINIMAL, "tasks=[feature-extraction, text-classification]", override)
    assert changed != base
    assert (changed.fingerprint_fields() != base.fingerprint_fields()) == CHANGES[override]


def test_every_setting_is_known_to_be_in_the_fingerprint_or_not():
    settled = {override.split("=")[0] for override in CHANGES}
    assert set(SETTINGS) - settled == {"policy.empty_text"}  # it has one value only


def test_the_fingerprint_is_plain_json_and_independent_of_the_job_it_came_from(load):
    fields = load(FULL).fingerprint_fields()
    assert json.loads(json.dumps(fields)) == fields
    before = copy.deepcopy(fields)
    load(FULL).fingerprint_fields()["input"]["keep"].append("x")
    assert load(FULL).fingerprint_fields() == before
