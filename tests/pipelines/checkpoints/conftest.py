"""Checkpoints in an object store and on a model hub, and a cache for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.storage.stores import open_client
from tests.pipelines.checkpoints.servers import ServedFiles, model_hub, object_store


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and short waits between retries."""
    monkeypatch.setenv("XLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipelines.storage.retries._RETRY_AFTER_S", (0.01, 0.01, 0.01))
    return tmp_path / "cache"


@pytest.fixture
def files(checkpoint: Path) -> dict[str, bytes]:
    """The demo's checkpoint, and files that no job needs."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    return files | {"optimizer.pt": b"large", "README.md": b"text", "pytorch_model.bin": b"in another format"}


@pytest.fixture
def store_files(files: dict[str, bytes]) -> ServedFiles:
    return ServedFiles({f"xlm/{name}": data for name, data in files.items()} | {"xlm/runs/config.json": b"another"})


@pytest.fixture
def store(store_files: ServedFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the demo's checkpoint in an object store."""
    with object_store(store_files) as endpoint:
        environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in (environment | {"AWS_REGION": "us-east-1"}).items():
            monkeypatch.setenv(name, value)
        open_client.cache_clear()  # a cached client has the port of an earlier test
        yield "s3://bucket/xlm"


@pytest.fixture
def hub_files(files: dict[str, bytes]) -> ServedFiles:
    return ServedFiles(files)


@pytest.fixture
def hub(hub_files: ServedFiles, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which hf://org/name is the demo's checkpoint."""
    with model_hub(hub_files) as endpoint:
        yield {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")}
