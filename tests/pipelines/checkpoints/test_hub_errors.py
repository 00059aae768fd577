"""Errors of a model hub name the repository, and what to do."""

import os
import time
from pathlib import Path

import pytest

from jobs.cli import main
from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint, pin_checkpoint
from pipelines.errors import FatalError, RetryableError
from tests.pipelines.checkpoints.cache_directory import clear, pin_with_file_size_limit
from tests.pipelines.checkpoints.processes import run_in_process
from tests.pipelines.checkpoints.servers import ServedFiles
from xlm_core import content_hash


def test_offline_without_cached_weights_is_an_error(hub: dict[str, str], cache: Path, tmp_path: Path):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    clear(cache)
    (weights,) = (tmp_path / "hub").rglob("model.safetensors")
    weights.unlink()
    for function, argument in ((pin_checkpoint, "hf://org/name"), (local_checkpoint, pinned)):
        error = run_in_process(function, argument, **hub, HF_HUB_OFFLINE="1")
        assert isinstance(error, FatalError)
        assert "HF_HUB_OFFLINE" in str(error)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("hf://org/nothing", "no such repository"),
        ("hf://org/name@nothing", "no such revision"),
        ("hf://name", "not a valid hub URL"),
        ("hf://org/name/weights", "not a valid hub URL"),
        ("hf://org/na--me", "not a valid hub URL"),
    ],
)
def test_unknown_repository_or_revision_is_an_error(hub: dict[str, str], url: str, problem: str):
    error = run_in_process(pin_checkpoint, url, **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{url}: ")
    assert problem in str(error)


def test_repository_without_config_is_an_error(hub: dict[str, str], hub_files: ServedFiles):
    del hub_files.files["config.json"]
    error = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith("hf://org/name: no such file")


def pin_without_package(url: str) -> PinnedCheckpoint:
    import sys

    sys.modules["huggingface_hub"] = None  # an import then fails as if the package were not installed
    return pin_checkpoint(url)


def test_missing_package_is_an_error_that_names_the_extra(hub: dict[str, str]):
    error = run_in_process(pin_without_package, "hf://org/name", **hub)
    assert isinstance(error, FatalError)
    assert "pip install 'xlm-batch[hub]'" in str(error)


def test_server_that_is_not_a_hub_is_a_fatal_error(store: str, hub: dict[str, str]):
    error = run_in_process(pin_checkpoint, "hf://org/name", **hub | {"HF_ENDPOINT": os.environ["AWS_ENDPOINT_URL"]})
    assert isinstance(error, FatalError)
    assert str(error).startswith("hf://org/name: the hub denied the request (Client error '404 Not Found'")
    assert "HF_ENDPOINT" in str(error)


def test_login_page_of_a_network_is_a_retryable_error(hub: dict[str, str], hub_files: ServedFiles):
    hub_files.needs_login = True
    error = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    assert isinstance(error, RetryableError)
    assert str(error).startswith("hf://org/name: not in the hub's cache, and the hub is not reachable")


def pin_offline(url: str, printed: Path) -> str:
    """Return the error, and print to a file as a command prints to its terminal."""
    os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT), 2)
    time.sleep = lambda _: None  # the client waits for 23 s between its attempts
    with pytest.raises(RetryableError) as caught:
        pin_checkpoint(url)
    return str(caught.value)


def test_hub_that_is_not_reachable_is_one_line(tmp_path: Path):
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    error = run_in_process(pin_offline, "hf://org/name", tmp_path / "stderr", **offline)
    assert error.startswith("hf://org/name: not in the hub's cache, and the hub is not reachable (")
    assert error.endswith(
        "run the same command again with a network connection, or name a local copy of the checkpoint"
    )
    assert (tmp_path / "stderr").read_text() == ""


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("FacebookAI/xlm-mlm-100-1280", "hf://FacebookAI/xlm-mlm-100-1280"),
        ("xlm-mlm-tlm-xnli15-1024", "hf://FacebookAI/xlm-mlm-tlm-xnli15-1024"),
        ("models/xlm", "hf://models/xlm"),
        ("./models/xlm", None),
        ("data", None),
        ("a/b/c", None),
    ],
)
def test_name_of_a_repository_points_to_its_url(
    name: str, url: str | None, demo: Path, capsys: pytest.CaptureFixture[str]
):
    check = ["check", str(demo / "small.yaml"), "--set"]
    head = f"tasks=[{{text-classification: {{head: {name}}}}}]"
    for command in (
        ["inspect", name],
        ["convert", name, "target"],
        [*check, f"model.checkpoint={name}"],
        [*check, head],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "no such checkpoint directory" in error
        assert (f"; for the repository on the hub, write {url}\n" in error) == (url is not None)


def test_broken_connection_is_retried(hub: dict[str, str], hub_files: ServedFiles, checkpoint: Path):
    hub_files.num_broken["model.safetensors"] = 1
    assert run_in_process(pin_checkpoint, "hf://org/name", **hub).content_hash == content_hash(checkpoint)
    assert hub_files.downloads["model.safetensors"] == 2


def test_full_disk_is_an_error_that_names_the_cache_of_the_hub(hub: dict[str, str], tmp_path: Path):
    error = run_in_process(pin_with_file_size_limit, "hf://org/name", 50_000, **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{tmp_path}/hub/hub: cannot be written (File too large)")
    assert "HF_HOME" in str(error)
