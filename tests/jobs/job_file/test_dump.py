"""A dumped job loads back to an equal job."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.job_file.load import dump_job, load_job
from pipelines.job.input import FixedLang, InputSettings
from pipelines.job.job import Job
from pipelines.job.sections import (
    ComputeSettings,
    ModelSettings,
    OutputSettings,
    PolicySettings,
)
from pipelines.tasks import (
    FeatureExtraction,
    TokenClassification,
)
from tests.jobs.job_file.example_jobs import JOBS, MINIMAL


@pytest.mark.parametrize("text", JOBS)
def test_job_is_equal_after_a_round_trip_through_yaml_json_or_pickle(load, text):
    job = load(text)
    assert load(dump_job(job)) == job
    assert Job.model_validate(json.loads(job.model_dump_json())) == job
    assert pickle.loads(pickle.dumps(job)) == job


def test_dump_keeps_number_types_and_quotes_ambiguous_text(load):
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
        "0512",
        "0o17",
        "1:30",
        "1_000",
        "~",
        "*x",
        " x ",
    ):
        job = load(MINIMAL)
        job = job.model_copy(
            update={"input": InputSettings(path="p", text=name, lang=FixedLang(fixed=name), keep=[name])}
        )
        assert load(dump_job(job)) == job
    assert "中文" in dump_job(load(MINIMAL, "input.text=中文"))  # not escaped


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not text.startswith("_xlm_")),
    st.floats(0, 1),
    st.integers(1, 2**62),
)
def test_job_with_any_values_is_equal_after_a_dump(tmp_path_factory, text, share, count):
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
