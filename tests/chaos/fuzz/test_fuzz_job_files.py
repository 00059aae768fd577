"""Damaged job files and random overrides give a job, or an error message in plain lines."""

import json
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobs.job_file import dump_job, load_job
from jobs.job_file.yaml_reader import JobFileError
from pipelines.job import Job
from tests.chaos.fuzz.error_messages import check_message
from tests.chaos.fuzz.mutations import JSON_VALUES, SLOW_IF_THOROUGH, examples, mutated_bytes, mutated_json
from tests.jobs.job_file.example_jobs import FULL, JOBS

pytestmark = SLOW_IF_THOROUGH


def check_loading(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """Load a job file: it is rejected with a message, or loads, and loads again after it is written."""
    try:
        job = load_job(path, overrides)
    except JobFileError as error:
        check_message(error)
    else:
        assert isinstance(job, Job)
        path.with_name("again.yaml").write_text(dump_job(job), encoding="utf-8")
        assert load_job(path.with_name("again.yaml")) == job


YAML_TOKENS = (
    *(b": ", b"- ", b"&a ", b"*a", b"? ", b"|\n", b"{", b"}", b"[", b"'", b'"', b"\t", b"\n---\n", b"%YAML 1.1\n"),
    *(b"!!python/name:os.system", b"<<: ", b"no", b"~", b".nan", b"\xef\xbb\xbf", b"\xc2\x85"),
)


@examples(120, 2_000)
@given(data=st.one_of(st.binary(max_size=200), *(mutated_bytes(job.encode(), tokens=YAML_TOKENS) for job in JOBS)))
def test_job_file_of_any_bytes_loads_or_is_rejected(folder, data):
    (folder / "job.yaml").write_bytes(data)
    check_loading(folder / "job.yaml")


@examples(150, 2_000)
@given(spec=st.one_of(*(mutated_json(yaml.safe_load(job)) for job in JOBS)))
def test_job_file_of_any_values_loads_or_is_rejected(folder, spec):
    (folder / "job.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    check_loading(folder / "job.yaml")


NAMES = st.sampled_from(
    ["input", "lang", "fixed", "keep", "tasks", "feature-extraction", "tokenizer", "name", "0", "1", "99", "-1", "x"]
)


@examples(120, 2_000)
@given(
    settings=st.lists(
        st.one_of(
            st.text(max_size=20),
            st.tuples(st.lists(NAMES, min_size=1, max_size=5).map(".".join), st.text(max_size=12)).map("=".join),
            st.tuples(st.lists(NAMES, min_size=1, max_size=5).map(".".join), JSON_VALUES.map(json.dumps)).map("=".join),
        ),
        max_size=3,
    )
)
def test_any_overrides_are_applied_or_rejected(folder, settings):
    (folder / "full.yaml").write_text(FULL, encoding="utf-8")
    check_loading(folder / "full.yaml", tuple(settings))
