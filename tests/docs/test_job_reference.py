"""The documents of `jobs` have every setting of a job file."""

from pathlib import Path

import pytest

from jobs.job_file import RUN, TRAIN, VOCABULARY, JobKind, json_schema
from tests.docs.job_reference import DOCUMENTS, insert_reference


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_reference_is_current(document: Path):
    assert insert_reference(document) == document.read_text(encoding="utf-8"), "run `make reference`"


@pytest.mark.parametrize("kind", [RUN, TRAIN, VOCABULARY], ids=["run", "train", "vocabulary"])
def test_every_setting_is_described(kind: JobKind):
    definitions = json_schema(kind)["$defs"].items()
    settings = {
        f"{name}.{key}": value for name, found in definitions for key, value in found.get("properties", {}).items()
    }
    assert len(settings) > 10
    assert [name for name, setting in settings.items() if not setting["description"].endswith(".")] == []
