"""Checkpoints of several formats, and limits on the time and memory of tests with damaged files."""

import re
import shutil
import time
from pathlib import Path

import pytest
import torch
import transformers

from tests.fixtures.original_release import content_of, save_original
from tests.parity.reference_model import reference
from tests.xlm_core.checkpoint.checkpoint_files import CONFIG
from xlm_core import XLMForTokenClassification

TENSORFLOW = Path(__file__).parents[2] / "fixtures" / "tensorflow" / "TFXLMModel"


@pytest.fixture
def saved(tmp_path) -> Path:
    """A directory with a token classifier."""
    XLMForTokenClassification(CONFIG).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def sharded(tmp_path):
    reference(transformers.XLMModel).save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


@pytest.fixture(scope="session")
def content():
    """The content of an original release's `.pth`."""
    return content_of(reference(transformers.XLMWithLMHeadModel))


@pytest.fixture
def original(tmp_path, content):
    return save_original(content, tmp_path / "original")


@pytest.fixture(scope="session")
def reference_trunk():
    return reference(transformers.XLMModel)


@pytest.fixture
def save_in_format(tmp_path, reference_trunk):
    """A function that saves a trunk in a format and returns the file to damage."""

    def save(format_name):
        if format_name.endswith("pth"):
            save_original(content_of(reference_trunk), tmp_path, legacy=format_name == "old pth")
            return tmp_path / "mlm_tiny.pth"
        if format_name == "h5":
            shutil.copytree(TENSORFLOW, tmp_path, dirs_exist_ok=True)
            return tmp_path / "tf_model.h5"
        if format_name.endswith("bin"):
            reference_trunk.config.save_pretrained(tmp_path)
            file = tmp_path / "pytorch_model.bin"
            torch.save(reference_trunk.state_dict(), file, _use_new_zipfile_serialization=format_name == "bin")
            return file
        reference_trunk.save_pretrained(tmp_path, max_shard_size="20KB" if format_name == "shard" else "1GB")
        return max(tmp_path.glob("*.safetensors"))

    return save


@pytest.fixture
def limited_resources():
    """Check that a test takes at most 30 seconds and 100 MB more memory than before it."""
    is_measured = Path("/proc/self/clear_refs").exists()  # on Linux
    if is_measured:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = _peak_kb() if is_measured else 0, time.monotonic()
    yield
    assert time.monotonic() - start < 30  # takes a second on an idle machine
    assert not is_measured or _peak_kb() - before < 100_000


def _peak_kb():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
