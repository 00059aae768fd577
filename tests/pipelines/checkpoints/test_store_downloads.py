"""Checkpoints in stores are downloaded once per node, and only if they have changed."""

from collections import Counter
from pathlib import Path

import fsspec

from pipelines.checkpoints.cache import local_checkpoint, pin_checkpoint
from tests.pipelines.checkpoints.cache_directory import FILES, clear, file_names
from tests.pipelines.checkpoints.processes import run_in_processes
from tests.pipelines.checkpoints.servers import ServedFiles
from xlm_core import XLMTokenizer, check_checkpoint, content_hash


def test_download_equals_the_original_and_reads_only_needed_files_once(
    store: str, store_files: ServedFiles, checkpoint: Path
):
    pinned = pin_checkpoint(store)
    assert pinned.content_hash == content_hash(checkpoint)
    directory = local_checkpoint(pinned)
    assert file_names(directory) == FILES
    assert store_files.downloads == Counter(f"xlm/{name}" for name in FILES)  # no other file, and none twice
    assert check_checkpoint(directory, "trunk") == check_checkpoint(checkpoint, "trunk")
    assert XLMTokenizer.from_pretrained(directory).vocab == XLMTokenizer.from_pretrained(checkpoint).vocab


def test_fsspec_stores_are_supported(files: dict[str, bytes], checkpoint: Path):
    memory = fsspec.filesystem("memory")
    for name, data in files.items():
        memory.pipe_file(f"/models/xlm/{name}", data)
    pinned = pin_checkpoint("memory://models/xlm")
    assert content_hash(local_checkpoint(pinned)) == content_hash(checkpoint)
    memory.pipe_file("/models/xlm/merges.txt", files["merges.txt"] + b"e r 0\n")
    assert pin_checkpoint("memory://models/xlm").content_hash != pinned.content_hash


def test_unchanged_checkpoint_is_not_downloaded_again(store: str, store_files: ServedFiles):
    first = pin_checkpoint(store)
    store_files.downloads.clear()
    assert pin_checkpoint(store) == first
    assert not store_files.downloads
    store_files.replace("xlm/merges.txt", store_files.files["xlm/merges.txt"].swapcase())  # the same size
    assert pin_checkpoint(store).content_hash != first.content_hash


def test_concurrent_workers_download_once(store: str, store_files: ServedFiles, cache: Path):
    pinned = pin_checkpoint(store)
    clear(cache)
    store_files.downloads.clear()
    found = run_in_processes([(local_checkpoint, pinned)] * 8)
    assert found == [cache / "checkpoints" / pinned.content_hash] * 8
    assert store_files.downloads == Counter(f"xlm/{name}" for name in FILES)
    assert content_hash(found[0]) == pinned.content_hash


def test_concurrent_drivers_download_once(store: str, store_files: ServedFiles, checkpoint: Path):
    found = run_in_processes([(pin_checkpoint, store)] * 4)
    assert {pinned.content_hash for pinned in found} == {content_hash(checkpoint)}
    assert store_files.downloads == Counter(f"xlm/{name}" for name in FILES)
