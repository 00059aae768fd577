"""`jobs/README.md` has every setting of a job file."""

from jobs.job_file import json_schema
from tests.docs.job_reference import README, insert_reference


def test_reference_is_current():
    text = README.read_text(encoding="utf-8")
    assert insert_reference(text) == text, "run `make reference`"


def test_every_setting_is_described():
    definitions = json_schema()["$defs"].items()
    settings = {
        f"{name}.{key}": value for name, found in definitions for key, value in found.get("properties", {}).items()
    }
    assert len(settings) > 30
    assert [name for name, setting in settings.items() if not setting["description"].endswith(".")] == []
