"""Checkpoints on a model hub: pinned commits, and the cache of the hub."""

import os
import select
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint, pin_checkpoint
from tests.pipelines.checkpoints.cache_directory import FILES, clear, file_names
from tests.pipelines.checkpoints.processes import run_in_process, run_in_processes
from tests.pipelines.checkpoints.servers import ServedFiles, commit_of
from xlm_core import content_hash


def test_download_equals_the_original_and_reads_only_needed_files_once(
    hub: dict[str, str], hub_files: ServedFiles, checkpoint: Path
):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    assert pinned.content_hash == content_hash(checkpoint)
    assert pinned.revision == commit_of(hub_files)
    directory = run_in_process(local_checkpoint, pinned, **hub)
    assert file_names(directory) == FILES
    assert hub_files.downloads == Counter(FILES)
    assert hub_files.listings == 1


def pin_at_terminal(terminal: str, url: str) -> PinnedCheckpoint:
    handle = os.open(terminal, os.O_WRONLY | os.O_NOCTTY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    return pin_checkpoint(url)


def test_download_prints_nothing_on_the_terminal(hub: dict[str, str]):
    terminal, terminal_of_process = os.openpty()
    run_in_process(pin_at_terminal, os.ttyname(terminal_of_process), "hf://org/name", **hub)
    shown, _, _ = select.select([terminal], [], [], 0)
    assert not shown, os.read(terminal, 10_000)
    os.close(terminal)
    os.close(terminal_of_process)


def test_cache_shares_disk_space_with_the_cache_of_the_hub(hub: dict[str, str], tmp_path: Path):
    directory = run_in_process(local_checkpoint, run_in_process(pin_checkpoint, "hf://org/name", **hub), **hub)
    (blob,) = (tmp_path / "hub").rglob("model.safetensors")
    assert (directory / "model.safetensors").samefile(blob)


def test_cache_of_the_hub_may_be_on_another_file_system(hub: dict[str, str], cache: Path, checkpoint: Path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == cache.parent.stat().st_dev:
            pytest.skip("needs two file systems")
        pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub | {"HF_HOME": other})
    assert content_hash(local_checkpoint(pinned)) == content_hash(checkpoint)


def test_workers_download_the_pinned_commit_after_main_has_changed(
    hub: dict[str, str], hub_files: ServedFiles, cache: Path, tmp_path: Path
):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    hub_files.replace("merges.txt", hub_files.files["merges.txt"] + b"e r 0\n")
    clear(cache)
    found = run_in_process(local_checkpoint, pinned, **hub)  # from the cache of the hub
    assert content_hash(found) == pinned.content_hash
    newer = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    assert newer.revision != pinned.revision
    assert newer.content_hash != pinned.content_hash
    assert run_in_process(pin_checkpoint, f"hf://org/name@{pinned.revision}", **hub).content_hash == pinned.content_hash


def test_concurrent_workers_download_once(hub: dict[str, str], hub_files: ServedFiles, cache: Path, tmp_path: Path):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    clear(cache)
    clear(tmp_path / "hub")
    hub_files.downloads.clear()
    assert run_in_processes([(local_checkpoint, pinned)] * 4, hub) == [cache / "checkpoints" / pinned.content_hash] * 4
    assert hub_files.downloads == Counter(FILES)


def test_cache_of_the_hub_is_used_offline(hub: dict[str, str], cache: Path):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    clear(cache)
    assert run_in_process(pin_checkpoint, "hf://org/name", **hub, HF_HUB_OFFLINE="1") == pinned
    clear(cache)
    assert file_names(run_in_process(local_checkpoint, pinned, **hub, HF_HUB_OFFLINE="1")) == FILES


def test_cached_checkpoint_is_used_if_the_hub_is_not_reachable(hub: dict[str, str], cache: Path):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    nowhere = hub | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert run_in_process(pin_checkpoint, "hf://org/name", **nowhere) == pinned
    clear(cache)
    assert file_names(run_in_process(local_checkpoint, pinned, **nowhere)) == FILES


def test_cache_works_without_the_cache_of_the_hub(hub: dict[str, str], tmp_path: Path):
    pinned = run_in_process(pin_checkpoint, "hf://org/name", **hub)
    clear(tmp_path / "hub")
    found = run_in_process(local_checkpoint, pinned, **hub, HF_HUB_OFFLINE="1")
    assert content_hash(found) == pinned.content_hash
