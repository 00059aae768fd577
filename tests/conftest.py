"""What tests share: the demo's corpus and checkpoint, the real corpora where they are, one Ray for the session."""

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import settings

from tests.kytea_model import write_kytea_model

settings.register_profile("busy machines", deadline=None)
settings.load_profile("busy machines")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of checkpoints that goes with the tests; before Ray starts, whose workers take it over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def corpus() -> list[dict[str, str]]:
    """The demo's sentences: 18 languages, 20 each."""
    lines = (files("jobs.demo") / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder: corpus/, checkpoint/, heads/topic, heads/upos, job.yaml."""
    from jobs.demo.build import write_demo

    return write_demo(tmp_path_factory.mktemp("demo")).parent


@pytest.fixture(scope="session")
def checkpoint(demo: Path) -> Path:
    return demo / "checkpoint"


@pytest.fixture(scope="session")
def kytea_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small KyTea model that the real KyTea reads."""
    return write_kytea_model(tmp_path_factory.mktemp("kytea") / "model.txt")


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """Real corpora, which are not part of the project: of each file the columns `lang` and `text` are read."""
    if not (folder := os.environ.get("XLM_TEST_CORPORA")):
        pytest.skip("needs real corpora: set XLM_TEST_CORPORA to a folder with ud_pos.parquet and tatoeba.parquet")
    return Path(folder)
