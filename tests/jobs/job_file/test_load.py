"""Loading valid job files, and files that are no job files at all."""

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.job_file.load import JobFileError, load_job
from pipelines.job.input import FixedLang, InputSettings
from pipelines.job.job import Job
from pipelines.job.sections import (
    BatchSettings,
    ComputeSettings,
    ModelSettings,
    OutputSettings,
    PolicySettings,
    TokenizerSettings,
)
from pipelines.tasks import (
    FeatureExtraction,
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TextGeneration,
    TokenClassification,
)
from tests.jobs.job_file.example_jobs import CHOICES, FULL, GENERATION, JOBS, MINIMAL, TASK_SETTINGS, attempt


def test_minimal_job_gets_the_default_of_every_setting(load):
    assert load(MINIMAL) == Job(
        name="xlm-job",
        input=InputSettings(path="data/", id=None, text="body", lang="lang", filter=None, keep=[]),
        model=ModelSettings(checkpoint="ckpt", precision="auto", objective="checkpoint"),
        tasks=[
            FeatureExtraction(
                prefix="",
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
            max_length=None,
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
            address=None,
            tokenizers="auto",
            models="auto",
            gpus_per_model=1.0,
            object_store_mb=None,
            price_per_hour=None,
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
        TextClassification(prefix="topic_", head="s3://heads/topic", top_k=3, scores=True),
        TextClassification(prefix="tone_", head="s3://heads/tone", problem="multi-label", threshold=0.2),
        TokenClassification(),
        TokenClassification(prefix="ner_", head="s3://heads/ner", aggregate="entity", pieces="mean", scheme="bioes"),
        FeatureExtraction(
            prefix="small_", layer=[0, -2], truncate_dim=256, dtype="int8", calibration="out/sample", windows="each"
        ),
        QuestionAnswering(prefix="qa_", head="s3://heads/qa", top_k=3, max_answer_tokens=12),
        FillMask(prefix="mask_", head="s3://heads/lm", top_k=2, mask="[MASK]"),
        LmScoring(prefix="lm_", head="s3://heads/lm"),
    ]
    assert load(CHOICES).tasks == [MultipleChoice(prefix="copa_", head="s3://heads/copa")]
    assert load(GENERATION).tasks == [
        TextGeneration(
            prefix="next_", head="lm", max_new_tokens=8, sample=True, temperature=0.7, top_k=9, top_p=0.9, seed=5
        )
    ]
    tried = {(task.kind, name) for text in JOBS for task in load(text).tasks for name in task.model_fields_set}
    assert tried == set(TASK_SETTINGS)
    defaults = load(MINIMAL)
    for section in ("model", "tokenizer", "batch", "output", "policy", "compute"):
        changed = dict(getattr(job, section))
        same = {key for key, value in dict(getattr(defaults, section)).items() if changed[key] == value}
        assert not same


def test_task_may_be_a_name_or_a_mapping_with_or_without_settings(load):
    forms = ["feature-extraction", "{feature-extraction: {}}", "{feature-extraction: }", "feature-extraction:"]
    jobs = [load(MINIMAL.replace("- feature-extraction", f"- {form}")) for form in forms]
    assert all(job == jobs[0] for job in jobs)


def test_job_is_immutable(load):
    job = load(MINIMAL)
    with pytest.raises(pydantic.ValidationError):
        job.tokenizer.max_length = 3


def test_environment_variables_are_not_expanded(load, monkeypatch):
    monkeypatch.setenv("SECRET", "value")
    with pytest.raises(JobFileError, match=r"contains \$SECRET, but job files do not expand") as error:
        load(MINIMAL, "output.path=$SECRET/x")
    assert "value" not in str(error.value)
    assert load(MINIMAL, "output.path=a$SECRET").output.path == "a$SECRET"


@pytest.mark.parametrize("name", ["missing.yaml", ".", "binary.yaml", "nul\x00.yaml"])
def test_unreadable_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(JobFileError, match="cannot be read") as error:
        load_job(name)
    assert str(error.value).startswith(name.split("\x00")[0])


TOKENS = """
input tasks lang fixed feature-extraction no 1 0.5 null a [] {} &a *a << : [ ] { } , !!int !x | > ' " # ? = . \\ud800
"""
WORDS = st.sampled_from([*TOKENS.split(), "", "- ", "\n", "  ", "? "])


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(), st.lists(WORDS).map("".join), st.lists(WORDS).map(lambda words: MINIMAL + "".join(words))),
    st.lists(st.lists(WORDS, max_size=6).map(".".join).map(lambda text: text.replace("=.", "=")), max_size=2),
)
def test_any_file_and_override_give_a_job_or_printable_messages(tmp_path_factory, text, overrides):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refusal = attempt(path, overrides)
    if refusal:
        assert refusal.args
        assert all(line.isprintable() for line in refusal.args)
