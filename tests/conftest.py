"""Fixtures of all tests, the hypothesis profile, and the distribution of tests over worker processes."""

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.kytea_model import write_kytea_model

# Threads of several test processes on two cores wait for each other: with two threads per process, tests of the model
# took up to 50 s instead of 0.5 s. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No limits of time, which a busy machine exceeds. `make check` draws fewer examples, see the Makefile.
for name, max_examples in (("full", 100), ("quick", 25)):
    settings.register_profile(
        name, max_examples=max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("full")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run tests that share expensive fixtures in one worker process."""
    from tests.scheduling import GroupScheduling  # xdist is not needed to run tests in one process

    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests for xdist: the longest groups first."""
    if hasattr(config, "workerinput"):
        from tests.scheduling import longest_first

        items.sort(key=longest_first)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set the environment of this process and of the Ray processes that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        # Ray starts idle worker processes in advance: 4 of the 26 CPU seconds that a run of the demo takes
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        patch.setenv("RAY_enable_worker_prestart", "0")
        # instead of 15: while two other processes are busy, the first part of a run then takes two minutes
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session")
def corpus() -> list[dict[str, str]]:
    """Read the demo's sentences: 20 in each of 18 languages."""
    lines = (files("jobs.demo") / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the demo: its files, and small.yaml, which the tests run instead of its job."""
    from tests.small_job import write_small_job

    return write_small_job(tmp_path_factory.mktemp("demo")).parent


@pytest.fixture(scope="session")
def checkpoint(demo: Path) -> Path:
    return demo / "checkpoint"


@pytest.fixture(scope="session")
def checkpoints(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the checkpoints of `tests.flow.heads`, with a head for every task."""
    from tests.flow.heads import write_checkpoints

    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(demo, folder)
    return folder


@pytest.fixture(scope="session")
def kytea_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small KyTea model, in the format of KyTea itself."""
    return write_kytea_model(tmp_path_factory.mktemp("kytea") / "model.txt")


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """Find the folder of real corpora, which are not part of the project. Their columns `lang` and `text` are read."""
    if not (folder := os.environ.get("XLM_TEST_CORPORA")):
        pytest.skip("needs real corpora: set XLM_TEST_CORPORA to a folder with ud_pos.parquet and tatoeba.parquet")
    return Path(folder)
