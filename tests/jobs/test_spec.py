# ruff: noqa: E501 - a message stands on one line here, as its reader gets it
import json
import pickle

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.job_file.load import SpecError, dump_job, load_job
from pipelines.job.input import FixedLang, InputSettings
from pipelines.job.job import Job
from pipelines.job.sections import BatchSettings, ComputeSettings, ModelSettings, OutputSettings, PolicySettings, TokenizerSettings
from pipelines.tasks import FeatureExtraction, FillMask, LmScoring, MultipleChoice, QuestionAnswering, TextClassification, TextGeneration, TokenClassification
from tests.jobs.job_files import CHOICES, FULL, GENERATION, JOBS, MINIMAL, TASK_SETTINGS, attempt


def test_a_few_lines_are_a_job_and_the_defaults_serve(load):
    assert load(MINIMAL) == Job(
        name="xlm-job",
        input=InputSettings(path="data/", id=None, text="body", lang="lang", filter=None, keep=[]),
        model=ModelSettings(checkpoint="ckpt", precision="auto", objective="checkpoint"),
        tasks=[
            FeatureExtraction(
                name=None,
                pooling="mean",
                layer=-1,
                truncate_dim=None,
                normalize=True,
                dtype="float32",
                calibration=None,
                windows="mean",
            )
        ],
        tokenizer=TokenizerSettings(
            max_length=512,
            on_overflow="truncate",
            overlap_tokens=64,
            bypass_tokenizer=False,
            zh="jieba",
            ja="kytea",
            kytea_model=None,
            compat="default",
            max_chars=1_000_000,
        ),
        batch=BatchSettings(max_tokens="auto", invariant=False),
        output=OutputSettings(path="out", rows_per_shard=16384, token_counts=False),
        policy=PolicySettings(unknown_lang="reject", duplicate_ids="error", max_rejected=0.01, max_failed_shards=0),
        compute=ComputeSettings(
            address="local", tokenizers="auto", models="auto", gpus_per_model=1.0, object_store_mb=None
        ),
    )


def test_every_setting_can_be_set(load):
    job = load(FULL)
    assert job.input == InputSettings(
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
        TextClassification(name="tone", head="s3://heads/tone", problem="multi-label", threshold=0.2),
        TokenClassification(),
        TokenClassification(name="ner", head="s3://heads/ner", aggregate="entity", pieces="mean"),
        FeatureExtraction(
            name="small", layer=[0, -2], truncate_dim=256, dtype="int8", calibration="out/sample", windows="each"
        ),
        QuestionAnswering(name="qa", head="s3://heads/qa", top_k=3, max_answer_tokens=12),
        FillMask(name="mask", head="s3://heads/lm", top_k=2, mask="[MASK]"),
        LmScoring(name="lm", head="s3://heads/lm"),
    ]
    assert load(CHOICES).tasks == [MultipleChoice(name="copa", head="s3://heads/copa")]
    assert load(GENERATION).tasks == [
        TextGeneration(
            name="next", head="lm", max_new_tokens=8, sample=True, temperature=0.7, top_k=9, top_p=0.9, seed=5
        )
    ]
    tried = {(task.kind, name) for text in JOBS for task in load(text).tasks for name in task.model_fields_set}
    assert tried == set(TASK_SETTINGS)
    defaults = load(MINIMAL)
    for section in ("model", "tokenizer", "batch", "output", "policy", "compute"):
        changed = dict(getattr(job, section))
        same = {key for key, value in dict(getattr(defaults, section)).items() if changed[key] == value}
        assert not same


@pytest.mark.parametrize("text", JOBS)
def test_a_job_survives_being_dumped_copied_to_json_and_pickled(load, text):
    job = load(text)
    assert load(dump_job(job)) == job
    assert Job.model_validate(json.loads(job.model_dump_json())) == job
    assert pickle.loads(pickle.dumps(job)) == job


def test_a_dump_tells_shares_from_counts_and_quotes_what_yaml_would_misread(load):
    for value in (1, 1.0, 0, 0.0, 1e-7):
        job = load(MINIMAL).model_copy(update={"policy": PolicySettings(max_rejected=value)})
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
        job = job.model_copy(update={"input": InputSettings(path="p", text=name, lang=FixedLang(fixed=name), keep=[name])})
        assert load(dump_job(job)) == job
    assert "中文" in dump_job(load(MINIMAL, "input.text=中文"))  # as a person reads it


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not text.startswith("_xlm_")),
    st.floats(0, 1),
    st.integers(1, 2**62),
)
def test_any_setting_survives_a_dump(tmp_path_factory, text, share, count):
    job = Job(
        input=InputSettings(path=[text], text=[text, "x"], lang=text, id=text),
        model=ModelSettings(checkpoint=text),
        tasks=[FeatureExtraction(), TokenClassification(head=text)],
        output=OutputSettings(path=text, rows_per_shard=count),
        policy=PolicySettings(max_rejected=share),
        compute=ComputeSettings(gpus_per_model=share),
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

INT8 = "calibration is required for int8, and not allowed otherwise; run a sample of the corpus with float32 first, and set calibration to its output.path"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  text: body", "  txet: body", ["job.yaml:3: input.txet is not a setting; did you mean text?"]),
        ("output:", "Output:", ["job.yaml:8: Output is not a setting; did you mean output?"]),
        ("  lang: lang\n", "", ["job.yaml:1: input.lang is missing: column with the language code of each row, or {fixed: CODE} for one language"]),
        ("{checkpoint: ckpt}", "ckpt", ['job.yaml:5: model: got "ckpt", expected a mapping with checkpoint, precision, objective']),
        ("{checkpoint: ckpt}", "", ["job.yaml:5: model: got nothing, expected a mapping with checkpoint, precision, objective"]),
        ("ckpt}", "[a]}", ["job.yaml:5: model.checkpoint: got a list, expected text"]),
        ("path: data/", "path: {a: b}", ["job.yaml:2: input.path: got a mapping, expected a path or a list of paths"]),
        ("path: data/", "path: []", ["job.yaml:2: input.path: got an empty list, expected parquet file, directory or glob, or a list of them; local paths or object store URLs"]),
        ("path: data/", "path:\n    - a\n    - 7", ['job.yaml:4: input.path.1: got 7, expected text; write "7" in quotes']),
        ("text: body", "text: [a, b, c]", ["job.yaml:3: input.text: 3 columns are a premise and choices, which only multiple-choice reads"]),
        ("text: body", "text: [a]", ["job.yaml:3: input.text: a list is for the columns of a pair or of choices; write a single column without brackets"]),
        ("text: body", "text: [a, _xlm_b]", ["job.yaml:3: input.text.1: got _xlm_b, but names that start with _xlm_ are reserved; rename the column"]),
        ("lang: lang", "lang: lang\n  id: _xlm_row", ["job.yaml:5: input.id: got _xlm_row, but names that start with _xlm_ are reserved; rename the column"]),
        ("lang: lang", "lang: {fixd: de}", ["job.yaml:4: input.lang.fixd is not a setting; did you mean fixed?"]),
        ("lang: lang", "lang: {}", ["job.yaml:4: input.lang.fixed is missing: the language code of all rows, such as de"]),
        ("lang: lang", "lang: [de]", ["job.yaml:4: input.lang: got a list, expected a column or {fixed: CODE}"]),
        ("- feature-extraction", "- feature-extractoin", ["job.yaml:7: tasks.0: feature-extractoin is not a task; did you mean feature-extraction?"]),
        ("- feature-extraction", "- translation: {}", ["job.yaml:7: tasks.0: translation is not a task; expected one of feature-extraction, text-classification, token-classification, question-answering, multiple-choice, fill-mask, lm-scoring, text-generation, alone or as TASK: {settings}"]),
        ("- feature-extraction", "- feature-extraction:\n    pooling: max", ["job.yaml:7: tasks.0: pooling stands beside feature-extraction; indent a task's settings below its name"]),
        ("- feature-extraction", "- feature-extraction:\n      poolng: max", ["job.yaml:8: tasks.0.feature-extraction.poolng is not a setting; did you mean pooling?"]),
        ("- feature-extraction", "- feature-extraction: {pooling: men}", ['job.yaml:7: tasks.0.feature-extraction.pooling: got "men", expected first, mean, last or max; did you mean mean?']),
        ("- feature-extraction", "- text-classification: {top_k: 0}", ["job.yaml:7: tasks.0.text-classification.top_k: got 0, expected at least 1"]),
        ("- feature-extraction", "- feature-extraction: {layer: last}", ['job.yaml:7: tasks.0.feature-extraction.layer: got "last", expected a layer such as -1, or a list of layers']),
        ("- feature-extraction", "- feature-extraction: {layer: 512}", ["job.yaml:7: tasks.0.feature-extraction.layer: got 512, expected at most 100"]),
        ("- feature-extraction", "- feature-extraction: {layer: []}", ["job.yaml:7: tasks.0.feature-extraction.layer: got an empty list, expected layer whose output is used, or a list of layers to average; 0 is the embeddings, -1 the last one"]),
        ("- feature-extraction", "- feature-extraction: {layer: [-1, 2.0]}", ["job.yaml:7: tasks.0.feature-extraction.layer.1: got 2.0, expected a whole number"]),
        ("- feature-extraction", "- feature-extraction: {truncate_dim: 0}", ["job.yaml:7: tasks.0.feature-extraction.truncate_dim: got 0, expected at least 1"]),
        ("- feature-extraction", "- feature-extraction: {dtype: int4}", ['job.yaml:7: tasks.0.feature-extraction.dtype: got "int4", expected float32, float16, int8 or binary; did you mean int8?']),
        ("- feature-extraction", "- feature-extraction: {windows: all}", ['job.yaml:7: tasks.0.feature-extraction.windows: got "all", expected mean or each']),
        ("- feature-extraction", "- feature-extraction: {dtype: int8}", [f"job.yaml:7: tasks.0.feature-extraction: {INT8}"]),
        ("- feature-extraction", "- feature-extraction: {calibration: out}", [f"job.yaml:7: tasks.0.feature-extraction: {INT8}"]),
        ("- feature-extraction", "- text-classification: {problem: multilabel}", ['job.yaml:7: tasks.0.text-classification.problem: got "multilabel", expected single-label, multi-label or regression; did you mean multi-label?']),
        ("- feature-extraction", "- text-classification: {threshold: 50}", ["job.yaml:7: tasks.0.text-classification.threshold: got 50, expected at most 1"]),
        ("- feature-extraction", "- text-classification: {problem: regression, top_k: 2}", ["job.yaml:7: tasks.0.text-classification: a regression writes values, not labels; remove top_k and scores"]),
        ("- feature-extraction", "- text-classification: {problem: regression, scores: true}", ["job.yaml:7: tasks.0.text-classification: a regression writes values, not labels; remove top_k and scores"]),
        ("- feature-extraction", "- text-classification: {problem: multi-label, top_k: 2}", ["job.yaml:7: tasks.0.text-classification: threshold selects the labels of a multi-label head; remove top_k"]),
        ("- feature-extraction", "- token-classification: {pieces: middle}", ['job.yaml:7: tasks.0.token-classification.pieces: got "middle", expected first, last, max or mean']),
        ("- feature-extraction", "- fill-mask: {top_k: 0}", ["job.yaml:7: tasks.0.fill-mask.top_k: got 0, expected at least 1"]),
        ("- feature-extraction", "- fill-mask: {mask: 7}", ['job.yaml:7: tasks.0.fill-mask.mask: got 7, expected text; write "7" in quotes']),
        ("- feature-extraction", '- fill-mask: {mask: ""}', ['job.yaml:7: tasks.0.fill-mask.mask: got "", expected string that marks a masked position in the text']),
        ("- feature-extraction", "- lm-scoring: {top_k: 1}", ["job.yaml:7: tasks.0.lm-scoring.top_k is not a setting; tasks.0.lm-scoring has name, head"]),
        ("- feature-extraction", "- text-generation: {max_new_tokens: 0}", ["job.yaml:7: tasks.0.text-generation.max_new_tokens: got 0, expected at least 1"]),
        ("- feature-extraction", "- text-generation: {sample: true, temperature: 0}", ["job.yaml:7: tasks.0.text-generation.temperature: got 0, expected more than 0"]),
        ("- feature-extraction", "- text-generation: {sample: true, top_p: 1.5}", ["job.yaml:7: tasks.0.text-generation.top_p: got 1.5, expected at most 1"]),
        ("- feature-extraction", "- text-generation: {sample: true, seed: -1}", ["job.yaml:7: tasks.0.text-generation.seed: got -1, expected at least 0"]),
        *(
            ("- feature-extraction", f"- text-generation: {{{setting}}}", ["job.yaml:7: tasks.0.text-generation: temperature, top_k, top_p and seed need sampling; set sample to true"])
            for setting in ("temperature: 0.5", "top_k: 2", "top_p: 0.5", "seed: 1")
        ),
        ("\n  - feature-extraction", " feature-extraction", ['job.yaml:6: tasks: got "feature-extraction", expected a list, as in tasks: ["feature-extraction"]']),
        ("\n  - feature-extraction", " []", ["job.yaml:6: tasks: got an empty list, expected what to compute; all tasks share one forward pass of the model"]),
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
        ("zzz: 7", "zzz is not a setting; a job has name, input, storage, model, tasks, tokenizer, batch, output, policy, compute"),
        ("tokenizer: {max_length: 2}", "tokenizer.max_length: got 2, expected at least 3"),
        ('tokenizer: {max_length: "512"}', 'tokenizer.max_length: got "512", expected a whole number without quotes'),
        ("tokenizer: {max_length: 5.5}", "tokenizer.max_length: got 5.5, expected a whole number"),
        ("tokenizer: {max_length: yes}", "tokenizer.max_length: got true (YAML reads yes as true), expected a whole number"),
        ("tokenizer: {on_overflow: windows}", 'tokenizer.on_overflow: got "windows", expected truncate, window or reject; did you mean window?'),
        ("tokenizer: {overlap_tokens: -1}", "tokenizer.overlap_tokens: got -1, expected at least 0"),
        ("tokenizer: {overlap_tokens: half}", 'tokenizer.overlap_tokens: got "half", expected a whole number'),
        ("tokenizer: {bypass_tokenizer: 1}", "tokenizer.bypass_tokenizer: got 1, expected true or false"),
        ("bypass_tokenizer: true", "bypass_tokenizer is not a setting; did you mean tokenizer.bypass_tokenizer?"),
        ("tokenizer: {kytea_model: 1}", 'tokenizer.kytea_model: got 1, expected text; write "1" in quotes'),
        ("batch: {max_tokens: lots}", 'batch.max_tokens: got "lots", expected auto or a whole number from 1'),
        ("batch: {max_tokens: 0}", "batch.max_tokens: got 0, expected at least 1"),
        ("batch: {max_tokens: true}", "batch.max_tokens: got true, expected auto or a whole number from 1"),
        ('batch: {invariant: "yes"}', 'batch.invariant: got "yes", expected true or false without quotes'),
        ("policy: {max_rejected: 1.5}", "policy.max_rejected: got 1.5, expected at most 1"),
        ("policy: {max_rejected: -1}", "policy.max_rejected: got -1, expected at least 0"),
        ("policy: {max_rejected: few}", 'policy.max_rejected: got "few", expected a share such as 0.01, or a whole number of rows'),
        ("policy: {max_rejected: .nan}", "policy.max_rejected: got NaN (YAML reads .nan as NaN), expected a finite number"),
        ("policy: {unknown_lang: skip}", 'policy.unknown_lang: got "skip", expected reject or neutral'),
        ("compute: {gpus_per_model: 1.5}", "compute.gpus_per_model: got 1.5, expected a fraction below 1, or a whole number"),
        ("name: my job", 'name: got "my job", expected at most 63 letters, digits, dots, dashes and underscores, starting with a letter or digit'),
        ("name: 2024", 'name: got 2024, expected text; write "2024" in quotes'),
        ("batch: {max_tokens: 9223372036854775808}", '"9223372036854775808" needs more than 64 bits; write a smaller number'),
        ("policy: {unknown_lang: }", "policy.unknown_lang: got nothing, expected reject or neutral"),
        ("name: 010", 'name: got 8 (YAML reads 010 as 8), expected text; write "010" in quotes'),
        ("policy: !!set {a}", "the tag !!set is not supported; write plain values"),
        ("policy: !!python/name:os.system x", "the tag !!python/name:os.system is not supported; write plain values"),
    ],
)  # fmt: skip
def test_a_wrong_setting_gets_one_line(problems, line, expected):
    assert problems(f"{MINIMAL}{line}\n") == [f"job.yaml:9: {expected}"]


@pytest.mark.parametrize("objective", ["casual", "clm"])
def test_an_objective_that_there_is_not(problems, objective):
    (line,) = problems(MINIMAL, f"model.objective={objective}")
    expected = f'--set model.objective: model.objective: got "{objective}", expected checkpoint, causal or masked'
    assert line == expected + ("; did you mean causal?" if objective == "casual" else "")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["tasks=[question-answering]"], ["input.text: question-answering needs two columns, [question, context]"]),
        (["tasks=[question-answering]", "input.text=[a, b, c]"], ["input.text: 3 columns are a premise and choices, which only multiple-choice reads", "input.text: question-answering needs two columns, [question, context]"]),
        (["tasks=[question-answering]", "input.text=[a, b]"], []),
        (["tasks=[multiple-choice]"], ["input.text: multiple-choice needs [premise, choice, choice …], or [premise, column of lists]"]),
        (["tasks=[multiple-choice]", "input.text=[a, b]"], []),
        (["tasks=[multiple-choice, multiple-choice: {name: x}]", "input.text=[a, b, c, d]"], []),
        (["tasks=[multiple-choice, fill-mask, feature-extraction]", "input.text=[a, b]"], ["tasks: multiple-choice reads a row as several sequences, feature-extraction, fill-mask as one; run them as two jobs"]),
        (["tasks=[multiple-choice]", "input.text=[a, b]", "tokenizer.on_overflow=window"], ["tasks.0: multiple-choice cannot merge windows; set tokenizer.on_overflow to truncate or reject"]),
        (["tasks=[feature-extraction, text-generation]", "tokenizer.on_overflow=window"], ["tasks.1: text-generation cannot merge windows; set tokenizer.on_overflow to truncate or reject"]),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=66"], ["tokenizer.overlap_tokens: got 64, but a window has room for 64 tokens besides the special ones; lower it"]),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=67"], []),
        (["tokenizer.on_overflow=window", "tokenizer.max_length=67", "input.text=[a, b]"], ["tokenizer.overlap_tokens: got 64, but a window has room for 64 tokens besides the special ones; lower it"]),
        (["tokenizer.max_length=3"], []),
        (["tasks=[fill-mask, fill-mask: {name: x, mask: _}]"], ["tasks: all tasks of a job read the same text; set one mask for all, got <mask>, _"]),
        (["tasks=[fill-mask: {mask: _}, fill-mask: {name: x, mask: _}]"], []),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_told_at_once(load, problems, overrides, expected):
    if expected:
        assert sorted(line.split(": ", 1)[1] for line in problems(MINIMAL, *overrides)) == expected
    else:
        load(MINIMAL, *overrides)


def test_a_contradiction_is_told_at_the_setting_that_is_to_change(problems):
    text = MINIMAL.replace("feature-extraction", "text-generation")
    text += "tokenizer:\n  on_overflow: window\n  overlap_tokens: 600\n"
    assert [line.split(":")[1] for line in problems(text)] == ["7", "11"]


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
