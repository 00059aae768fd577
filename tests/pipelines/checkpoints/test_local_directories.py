"""Local checkpoints are used without copying them, and their content is checked."""

import shutil
from pathlib import Path

import pytest

from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint, pin_checkpoint
from pipelines.errors import FatalError
from tests.pipelines.checkpoints.cache_directory import file_names
from xlm_core import content_hash


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_local_directory_is_used_without_a_copy(checkpoint: Path, cache: Path, scheme: str):
    pinned = pin_checkpoint(f"{scheme}{checkpoint}")
    assert pinned == PinnedCheckpoint(str(checkpoint), content_hash(checkpoint))
    assert local_checkpoint(pinned) == checkpoint
    assert file_names(cache / "checkpoints") == set()


def test_change_of_a_local_directory_during_a_run_is_an_error(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    pinned = pin_checkpoint(str(copy))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(FatalError, match=r"changed during the run"):
        local_checkpoint(pinned)
    shutil.rmtree(copy)
    with pytest.raises(FatalError, match=r"no such directory on node .* share"):
        local_checkpoint(pinned)


def test_local_directory_needs_no_cache(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLM_CACHE", "/proc/nothing/can/be/made/here")
    assert local_checkpoint(pin_checkpoint(str(checkpoint))) == checkpoint
