"""Pickles that would run code or claim more data than they have are rejected."""

import io
import os
import pickle
import pickletools
import re
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch

from tests.fixtures.original_release import content_of
from tests.xlm_core.checkpoint.checkpoint_files import file_error
from xlm_core import (
    XLMModel,
    XLMTokenizer,
)
from xlm_core.checkpoint import check_checkpoint, inspect_checkpoint

pytestmark = pytest.mark.usefixtures("limited_resources")


class Malicious:
    """A pickle that creates a directory when an unsafe loader reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["tensors", "params", "vocabulary"])
@pytest.mark.parametrize("format_name", ["bin", "old bin", "plain pickle", "pth", "old pth"])
def test_a_pickle_that_would_run_code_is_rejected_and_does_not_run(save_in_format, reference_trunk, format_name, where):
    file = save_in_format("bin" if format_name == "plain pickle" else format_name)
    trap = file.parent / "executed"
    content = content_of(reference_trunk)
    parts = {"tensors": content["model"], "params": content["params"], "vocabulary": content["dico_word2id"]}
    parts[where]["trap"] = Malicious(trap)
    if not format_name.endswith("pth"):
        content = {"trap": Malicious(trap)}
    if format_name == "plain pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=not format_name.startswith("old"))
    assert "refused, its pickle would call posix.mkdir" in file_error(file)
    loads = [lambda directory: check_checkpoint(directory, "trunk"), inspect_checkpoint]
    if format_name.endswith("pth"):
        (file.parent / "tokenizer_config.json").write_text('{"do_lowercase_and_remove_accent": true}')
        loads.append(XLMTokenizer.from_pretrained)
    for load in loads:
        file_error(file, load)
    assert not trap.exists()
    pickle.loads(file.read_bytes()) if format_name == "plain pickle" else torch.load(file, weights_only=False)
    assert trap.exists()  # the trap works with an unsafe loader


@pytest.mark.parametrize("name", ["torch.load", "numpy.load", "numpy.fromfile", "builtins.eval", "os.system"])
def test_a_pickle_may_contain_numpy_numbers_but_no_other_functions(save_in_format, name):
    file = save_in_format("pth")
    module, function = name.rsplit(".", 1)
    trap = f"c{module}\n{function}\n(S'/tmp/x'\ntR.".encode()
    file.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + trap)
    assert f"refused, its pickle would call {name.removeprefix('builtins.')}" in file_error(file)


def rewrite_archive(file, change, compression=zipfile.ZIP_STORED):
    """Change the records of a zip archive, a dictionary of bytes by name."""
    with zipfile.ZipFile(file) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    change(records)
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("format_name", ["bin", "pth"])
def test_an_archive_with_less_data_than_it_claims_is_rejected(save_in_format, format_name):
    file = save_in_format(format_name)
    rewrite_archive(file, lambda records: None)
    assert XLMModel.from_pretrained(file.parent)  # rewriting alone is accepted

    largest = []

    def cut(records):
        largest.append(max(records, key=lambda name: len(records[name]) if "/data/" in name else 0))
        records[largest[0]] = records[largest[0]][:64]

    rewrite_archive(file, cut)
    assert "fewer values than its tensors have" in file_error(file)
    rewrite_archive(file, lambda records: records.pop(largest[0]))
    assert "cut off, or not a PyTorch weights file" in file_error(file)


def test_a_compressed_archive_is_rejected(save_in_format):
    file = save_in_format("bin")
    rewrite_archive(file, lambda records: records.update({"archive/data/9": bytes(1 << 26)}), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 1 << 20
    assert "its archive is compressed, or claims more bytes than it has" in file_error(file)


class Storage:
    """Represents the record `data/0` in a crafted pickle."""


class CraftedPickler(pickle._Pickler):
    def __init__(self, file, num_stored):
        super().__init__(file, 2)
        self.num_stored = num_stored

    def persistent_id(self, item):
        return ("storage", torch.FloatStorage, "0", "cpu", self.num_stored) if isinstance(item, Storage) else None


class CraftedTensor:
    def __init__(self, shape, stride):
        self.shape, self.stride = shape, stride

    def __reduce__(self):
        rebuild = torch._utils._rebuild_tensor_v2
        return rebuild, (Storage(), 0, self.shape, self.stride, False, OrderedDict())


@pytest.mark.parametrize(
    ("num_stored", "shape", "stride"),
    [
        (2**60, (2**60,), 1),
        (2**40, (2**40,), 1),
        (2**60, None, 1),
        (4, (2**60,), 1),
        (4, (2**60,), 0),
        (4, None, 0),  # the expected shapes, with all values at stride 0 in the same storage
        (-1, None, 1),
    ],
)
def test_a_tensor_larger_than_its_storage_is_rejected(save_in_format, reference_trunk, num_stored, shape, stride):
    file = save_in_format("bin")
    tensors = {
        name: CraftedTensor(shape or tuple(tensor.shape), (stride,) * len(shape or tensor.shape))
        for name, tensor in reference_trunk.state_dict().items()
    }
    stream = io.BytesIO()
    CraftedPickler(stream, num_stored).dump(tensors)
    crafted = {"archive/data.pkl": stream.getvalue(), "archive/data/0": bytes(16), "archive/version": b"3\n"}
    rewrite_archive(file, lambda records: (records.clear(), records.update(crafted)))
    expected = r"cut off, or not a|holds fewer values than its shape says|is \[1152921504606846976\], expected"
    assert re.search(expected, file_error(file))


def test_an_old_pickle_with_a_wrong_storage_size_is_rejected(save_in_format):
    file = save_in_format("old bin")
    data = file.read_bytes()
    first = first_storage_size_offset(data)
    for size in (2**60, 2**33, -1):
        file.write_bytes(data[:first] + struct.pack("<q", size) + data[first + 8 :])
        assert "cut off, or not a PyTorch weights file" in file_error(file)


def first_storage_size_offset(data):
    """Return the offset of the size of an old file's first storage, which follows the file's five pickles."""
    stream = io.BytesIO(data)
    for _ in range(5):
        list(pickletools.genops(stream))
    return stream.tell()
