"""Errors of stores and of the cache name the URL or directory, and what to do."""

from pathlib import Path

import pytest

from pipelines.checkpoints.cache import local_checkpoint, pin_checkpoint, url_in_errors
from pipelines.errors import FatalError
from tests.pipelines.checkpoints.cache_directory import clear, file_names, pin_with_file_size_limit
from tests.pipelines.checkpoints.processes import run_in_process
from tests.pipelines.checkpoints.servers import ServedFiles
from xlm_core import CheckpointError, check_checkpoint


def test_deleted_file_is_an_error_that_names_it(store: str, store_files: ServedFiles, cache: Path):
    pinned = pin_checkpoint(store)
    clear(cache)
    del store_files.files["xlm/vocab.json"]
    with pytest.raises(FatalError, match=r"s3://bucket/xlm/vocab.json: no such file"):
        local_checkpoint(pinned)


@pytest.mark.parametrize("url", ["s3://bucket/nothing", "s3://bucket/xlm/config.json"])
def test_url_that_is_not_a_directory_is_an_error(store: str, url: str):
    with pytest.raises(FatalError, match=rf"{url}: .*name the directory"):
        pin_checkpoint(url)


def test_invalid_checkpoint_is_an_error_that_names_its_url(store: str, store_files: ServedFiles):
    del store_files.files["xlm/model.safetensors"], store_files.files["xlm/pytorch_model.bin"]
    with pytest.raises(CheckpointError, match=r"^s3://bucket/xlm: "):
        pin_checkpoint(store)


def test_later_errors_name_the_url_instead_of_the_cache(store: str):
    directory = local_checkpoint(pin_checkpoint(store))
    with pytest.raises(CheckpointError, match=r"^s3://bucket/xlm/model.safetensors: "), url_in_errors(store, directory):
        check_checkpoint(directory, "sequence-classification")


def test_denied_access_is_a_fatal_error(store: str, store_files: ServedFiles):
    store_files.denies_access = True
    with pytest.raises(FatalError, match=r"s3://bucket/xlm: access is denied .*credentials"):
        pin_checkpoint(store)


def test_full_disk_is_an_error_that_names_the_cache(store: str, cache: Path):
    error = run_in_process(pin_with_file_size_limit, store, 50_000)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{cache}: cannot be written (File too large)")
    assert "XLM_CACHE" in str(error)
    assert file_names(cache / "incoming") == set()


def test_cache_that_cannot_be_created_is_an_error(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLM_CACHE", "/proc/nothing/can/be/made/here")
    with pytest.raises(FatalError, match=r"/proc/nothing/can/be/made/here: cannot be written .*XLM_CACHE"):
        pin_checkpoint(store)
