"""Truncated, damaged and inconsistent weights files give one clear error, quickly and with little memory."""

import json
import os
import random
import struct
import sys

import h5py
import numpy as np
import pytest

from tests.xlm_core.checkpoint.checkpoint_files import file_error
from xlm_core import (
    TokenClassificationHead,
    XLMModel,
)
from xlm_core.checkpoint import check_checkpoint, inspect_checkpoint
from xlm_core.errors import CheckpointError

pytestmark = pytest.mark.usefixtures("limited_resources")


EMBEDDINGS = "transformer/tfxlm_model/transformer/embeddings/weight:0"


FORMATS = ["safetensors", "shard", "bin", "old bin", "h5", "pth", "old pth"]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("kept", [1, 4, 200, 0.5, -100, -1])
def test_a_truncated_file_is_rejected(save_in_format, format_name, kept):
    file = save_in_format(format_name)
    size = file.stat().st_size
    os.truncate(file, int(size * kept) if isinstance(kept, float) else kept % size)
    message = file_error(file)
    assert "cut off, or not a" in message
    for look in (inspect_checkpoint, lambda directory: check_checkpoint(directory, "trunk")):
        assert file_error(file, look) == message


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_of_another_kind_is_rejected(save_in_format, format_name):
    file = save_in_format(format_name)
    file.write_text("<!doctype html><title>404</title>" * 20)
    assert "cut off, or not a" in file_error(file)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "is a Git LFS pointer, not the weights; fetch them with `git lfs pull`" in file_error(file)
    file.write_bytes(b"")
    assert "is empty" in file_error(file)
    file.unlink()
    file.mkdir()
    assert "cannot be read: Is a directory" in file_error(file)


@pytest.mark.parametrize("format_name", FORMATS)
def test_damaged_bytes_are_rejected_or_change_only_values(save_in_format, format_name):
    """No format detects damage within the values. All other damage must raise CheckpointError."""
    file = save_in_format(format_name)
    original, chance = file.read_bytes(), random.Random(format_name)
    shapes = {name: tensor.shape for name, tensor in XLMModel.from_pretrained(file.parent).state_dict().items()}
    for _ in range(40):
        data = bytearray(original)
        for _ in range(chance.choice([1, 20])):
            data[int(len(data) * chance.random() ** 3)] = chance.randrange(256)  # mostly near the beginning
        file.write_bytes(data)
        try:
            loaded = XLMModel.from_pretrained(file.parent).state_dict()
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017  # both outcomes are valid
        else:
            assert {name: tensor.shape for name, tensor in loaded.items()} == shapes


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"embeddings.weight": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}, b""),
        ({"embeddings.weight": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}}, bytes(16)),
        ({"embeddings.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 2**40]}}, bytes(16)),
        ({"embeddings.weight": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, bytes(16)),
        ({"embeddings.weight": {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        ({"embeddings.weight": 7}, b""),
        ([], b""),
    ],
)
def test_an_inconsistent_safetensors_header_is_rejected(save_in_format, header, data):
    file = save_in_format("safetensors")
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert "cut off, or not a safetensors file" in file_error(file)
    file.write_bytes(struct.pack("<Q", 2**60) + text)
    assert "cut off, or not a safetensors file" in file_error(file)


def edit_h5(file, change):
    with h5py.File(file, "r+") as h5:
        change(h5)


def replace_with(**dataset):
    def change(h5):
        del h5[EMBEDDINGS]
        h5.create_dataset(EMBEDDINGS, **dataset)

    return change


def link_to(link):
    def change(h5):
        del h5[EMBEDDINGS]
        h5[EMBEDDINGS] = link

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_with(shape=(2**40, 32), dtype="f4", chunks=(1024, 32)), "is [1099511627776, 32], expected [60, 32]"),
        (replace_with(shape=(60, 32), dtype="f4", chunks=(60, 32)), "holds fewer values than its shape says"),
        (
            replace_with(shape=(60, 32), dtype="f4", external=[("/etc/passwd", 0, 7680)]),
            "holds fewer values than its shape says",
        ),
        (replace_with(data=np.ones((60, 32), "i4")), "holds int32, expected floating point"),
        (replace_with(data=np.array([["a"] * 32] * 60, h5py.string_dtype())), "holds object, expected floating point"),
        (replace_with(data=h5py.Empty("f4")), "is [], expected [60, 32]"),
        (link_to(h5py.ExternalLink("/etc/passwd", "x")), "missing 1: embeddings.weight [60, 32]"),
        (link_to(h5py.SoftLink("/nowhere")), "missing 1: embeddings.weight [60, 32]"),
        (lambda h5: h5.pop("transformer/tfxlm_model/transformer/ffns_._1"), "missing 4: ffns.1.lin1.weight"),
        (lambda h5: h5.pop("transformer"), "holds 0 tensors, too few for the 2 layers"),
        (lambda h5: h5.create_dataset("optimizer/m:0", data=[1.0]), "unexpected 1: optimizer/m:0 [1]"),
        (
            lambda h5: h5.create_dataset(f"head/{EMBEDDINGS}", data=np.ones((60, 32), "f4")),
            "have different values",
        ),
    ],
)
def test_an_h5_file_without_the_model_is_rejected(save_in_format, change, message):
    file = save_in_format("h5")
    edit_h5(file, change)
    assert message in file_error(file)


def test_an_h5_file_with_a_cycle_of_links_loads(save_in_format):
    file = save_in_format("h5")

    def change(h5):
        h5["loop"] = h5["/"]

    edit_h5(file, change)
    assert XLMModel.from_pretrained(file.parent)


def test_without_h5py_the_message_has_the_install_command(save_in_format, monkeypatch):
    file = save_in_format("h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'xlm-batch[tensorflow-checkpoints]'" in file_error(file)


@pytest.mark.parametrize("format_name", ["safetensors", "h5"])
def test_a_config_with_too_many_layers_is_rejected(save_in_format, format_name):
    file = save_in_format(format_name)
    config = json.loads((file.parent / "config.json").read_text())
    (file.parent / "config.json").write_text(json.dumps(config | {"n_layers": 10**12}))
    assert "too few for the 1000000000000 layers" in file_error(file)
    assert "too few for the 1000000000000 layers" in file_error(file, inspect_checkpoint)
    assert "no token-classification head" in file_error(file, TokenClassificationHead.from_pretrained)
