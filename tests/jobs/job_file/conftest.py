"""Fixtures that load a job from text, and that return the messages of a refused one."""

import pytest

from jobs.job_file.load import JobFileError, load_job
from xlm_core.errors import FatalError


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
        with pytest.raises(JobFileError) as error:
            load(text, *overrides)
        assert isinstance(error.value, FatalError)
        return str(error.value).split("\n")

    return problems
