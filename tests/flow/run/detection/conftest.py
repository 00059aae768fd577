import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.job.job import Job
from tests.flow.run.detection.identifier import write_identifier


@pytest.fixture(scope="session")
def identifier(demo: Path, corpus: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a checkpoint that identifies the 18 languages of the demo's corpus."""
    folder = tmp_path_factory.mktemp("identifier") / "checkpoint"
    write_identifier(demo / "checkpoint", corpus, folder)
    return folder


@pytest.fixture
def renamed(identifier: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the checkpoint with other labels, or changes of its config.json."""

    def copy(labels: dict[str, str], **changes: Any) -> Path:
        folder = tmp_path / "renamed"
        shutil.copytree(identifier, folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["id2label"] = {i: labels.get(label, label) for i, label in config["id2label"].items()}
        config["label2id"] = {label: int(i) for i, label in config["id2label"].items()}
        (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
        return folder

    return copy


@pytest.fixture
def detect_job(make_job: Callable[..., Job], identifier: Path) -> Callable[..., Job]:
    """Return a function that makes the demo's job for languages that are detected; see `make_job`."""

    def make(detect: Path = identifier, threshold: float = 0.5, **changes: Any) -> Job:
        lang = {"detect": str(detect), "threshold": threshold}
        settings: dict[str, Any] = {"policy": {"max_rejected": 1.0}} | changes
        return make_job(**({"input__lang": lang} | settings))

    return make
