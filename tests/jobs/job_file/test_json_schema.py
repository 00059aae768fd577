import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.job_file.load import dump_job, json_schema
from pipelines.job.job import Job
from tests.jobs.job_file.example_jobs import JOBS, MINIMAL, SETTINGS, TASK_SETTINGS, attempt

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


# Settings that other settings of the same task need.
REQUIRED = {"feature-extraction": {"dtype": "int8", "calibration": "sample"}, "text-generation": {"sample": True}}


def has_whole_float(value):
    """Whether a value contains a float such as 8.0: to JSON Schema it is an integer, to the loader it is not."""
    if isinstance(value, list | dict):
        return any(map(has_whole_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


def agree(path, data):
    path.write_text(yaml.safe_dump(data))
    return SCHEMA.is_valid(data) == (attempt(path) is None)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*SETTINGS, *Job.model_fields, "tasks.0"]), PLAIN)
def test_schema_and_loader_agree_on_every_setting(tmp_path_factory, key, value):
    data = yaml.safe_load(MINIMAL)
    *groups, name = key.split(".")
    group = data
    for step in groups:
        group = group.setdefault(step, {}) if isinstance(group, dict) else group[int(step)]
    group[int(name) if isinstance(group, list) else name] = value
    if key == "input.filter" and isinstance(value, str) and value:
        return  # the schema does not contain the grammar of filters
    if key == "input.text" and isinstance(value, list) and len(value) > 2:
        return  # nor which tasks read choices
    if has_whole_float(value):
        return
    assert agree(tmp_path_factory.getbasetemp() / "agree.yaml", data)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TASK_SETTINGS), PLAIN)
def test_schema_and_loader_agree_on_every_task_setting(tmp_path_factory, setting, value):
    kind, name = setting
    data = yaml.safe_load(MINIMAL)
    data["input"]["text"] = ["a", "b"]
    required = {"problem": "multi-label"} if name == "threshold" else REQUIRED.get(kind, {})
    data["tasks"] = [{kind: {**required, name: value}}]
    if name == "calibration" and value is None:
        return  # the schema does not contain that int8 needs it
    if name not in ("temperature", "top_p", "threshold") and has_whole_float(value):
        return
    assert agree(tmp_path_factory.getbasetemp() / "agree.yaml", data)


SCHEMA = jsonschema.Draft202012Validator(json_schema())


def test_schema_is_valid_and_describes_every_setting():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema() == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for group in json_schema()["$defs"].values():
        for branch in group.get("oneOf", [group]):
            inner = branch.get("properties", {})
            for name, described in inner.items():
                if "-" in name:  # a task: its settings are one level below
                    assert all("description" in part for part in described["anyOf"][0]["properties"].values())
                else:
                    assert "description" in described, name


@pytest.mark.parametrize("text", JOBS)
def test_schema_accepts_jobs_and_their_dumps(load, text):
    for form in (text, dump_job(load(text))):
        assert [error.message for error in SCHEMA.iter_errors(yaml.safe_load(form))] == []
