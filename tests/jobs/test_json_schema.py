import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import dump_job, json_schema
from pipelines.job import Job
from tests.jobs.job_files import FULL, MINIMAL, SETTINGS, attempt

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
