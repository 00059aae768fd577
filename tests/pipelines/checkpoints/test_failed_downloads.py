"""Downloads that are killed, broken off or truncated, and checkpoints that change during a download."""

import os
import signal
from pathlib import Path

import fsspec
import pytest

from pipelines.checkpoints.cache import local_checkpoint, pin_checkpoint
from pipelines.errors import FatalError, RetryableError
from tests.forks import FORKS
from tests.pipelines.checkpoints.cache_directory import clear, file_names
from tests.pipelines.checkpoints.processes import put_result, run_in_process
from tests.pipelines.checkpoints.servers import ServedFiles
from tests.pipelines.checkpoints.unreliable_store import UnreliableStore
from xlm_core import content_hash


@pytest.fixture
def unreliable_store(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    fsspec.register_implementation("unreliable", UnreliableStore, clobber=True)
    monkeypatch.setattr(UnreliableStore, "num_truncated", 0)
    for name, data in files.items():
        fsspec.filesystem("memory").pipe_file(f"/unreliable/xlm/{name}", data)
    return "unreliable://unreliable/xlm"


def test_killed_download_is_not_used_and_is_removed_later(store: str, store_files: ServedFiles, cache: Path):
    pinned = pin_checkpoint(store)
    clear(cache)
    store_files.stalled_file = "xlm/model.safetensors"
    queue = FORKS.Queue()
    downloader = FORKS.Process(target=put_result, args=(queue, dict(os.environ), local_checkpoint, pinned))
    downloader.start()
    assert store_files.half_is_sent.wait(240)
    os.kill(downloader.pid, signal.SIGKILL)
    downloader.join()
    (incomplete,) = (cache / "incoming").iterdir()
    assert "model.safetensors" in file_names(incomplete)
    assert file_names(cache / "checkpoints") == set()

    store_files.stalled_file = None
    store_files.resume.set()
    assert content_hash(run_in_process(local_checkpoint, pinned)) == pinned.content_hash
    assert file_names(cache / "incoming") == set()


def test_stale_downloads_of_all_urls_are_removed_but_not_active_ones(store: str, store_files: ServedFiles, cache: Path):
    store_files.files |= {name.replace("xlm/", "other/"): data for name, data in store_files.files.items()}
    store_files.modified |= dict.fromkeys(store_files.files, 0)
    store_files.stalled_file = "other/model.safetensors"
    queue = FORKS.Queue()
    slow = FORKS.Process(target=put_result, args=(queue, dict(os.environ), pin_checkpoint, "s3://bucket/other"))
    slow.start()
    assert store_files.half_is_sent.wait(240)
    active = file_names(cache / "incoming")
    (cache / "incoming" / "stale").mkdir()
    pinned = pin_checkpoint(store)
    assert file_names(cache / "incoming") == active
    store_files.resume.set()
    assert queue.get(timeout=240).content_hash == pinned.content_hash
    slow.join()
    assert file_names(cache / "incoming") == set()
    assert file_names(cache / "checkpoints") == {pinned.content_hash}


def test_change_in_the_store_during_a_run_is_an_error(store: str, store_files: ServedFiles, cache: Path):
    pinned = pin_checkpoint(store)
    clear(cache)
    store_files.replace("xlm/merges.txt", store_files.files["xlm/merges.txt"] + b"e r 0\n")
    with pytest.raises(FatalError, match=rf"s3://bucket/xlm: changed during the run, .* {pinned.content_hash[:12]}"):
        local_checkpoint(pinned)
    assert file_names(cache / "checkpoints") == set()


def test_change_during_a_download_is_an_error(store: str, store_files: ServedFiles, cache: Path):
    store_files.stalled_file = "xlm/model.safetensors"
    queue = FORKS.Queue()
    reader = FORKS.Process(target=put_result, args=(queue, dict(os.environ), pin_checkpoint, store))
    reader.start()
    assert store_files.half_is_sent.wait(240)
    store_files.replace("xlm/config.json", store_files.files["xlm/config.json"] + b"\n")
    store_files.resume.set()
    error = queue.get(timeout=240)
    reader.join()
    assert isinstance(error, RetryableError)
    assert "changed during the download" in str(error)
    assert file_names(cache / "checkpoints") == set()


def test_broken_connection_is_retried(store: str, store_files: ServedFiles, checkpoint: Path):
    store_files.num_broken["xlm/model.safetensors"] = 1
    assert pin_checkpoint(store).content_hash == content_hash(checkpoint)
    assert store_files.downloads["xlm/model.safetensors"] == 2


def test_truncated_file_is_downloaded_again(unreliable_store: str, checkpoint: Path):
    UnreliableStore.num_truncated = 3
    assert pin_checkpoint(unreliable_store).content_hash == content_hash(checkpoint)
    assert UnreliableStore.num_truncated == 0


def test_file_that_is_always_truncated_is_a_retryable_error(unreliable_store: str, cache: Path):
    UnreliableStore.num_truncated = 100
    with pytest.raises(RetryableError, match=r"xlm/model.safetensors: incomplete, got [\d,]+ of [\d,]+ bytes"):
        pin_checkpoint(unreliable_store)
    assert file_names(cache / "checkpoints") == file_names(cache / "incoming") == set()


def test_change_is_noticed_if_the_client_caches_listings(unreliable_store: str, files: dict[str, bytes]):
    before = pin_checkpoint(unreliable_store)
    fsspec.filesystem("memory").pipe_file("/unreliable/xlm/merges.txt", files["merges.txt"] + b"e r 0\n")
    assert pin_checkpoint(unreliable_store).content_hash != before.content_hash
