"""Weights in several files with an index."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.xlm_core.checkpoint.checkpoint_files import load_error
from xlm_core import (
    XLMModel,
)
from xlm_core.errors import format_value


def edit_index(directory, change):
    file = directory / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    change(index["weight_map"])
    file.write_text(json.dumps(index))


TOO_LONG = f"model-{'1' * 300}-of-2.safetensors"  # for every file system


@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "/etc/passwd", "model.safetensors", "", 7, None, TOO_LONG]
)
def test_a_shard_must_be_in_the_directory_of_its_index(sharded, name):
    edit_index(sharded, lambda weight_map: weight_map.update({"embeddings.weight": name}))
    message = load_error(sharded, XLMModel.from_pretrained)
    assert len(message) < 500
    expected = "expected a file of the same directory, such as model-00001-of"
    assert f"weight_map: got {format_value(name)} for 'embeddings.weight', {expected}" in message


def test_index_and_shards_must_have_the_same_tensors(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    first = load_file(shards[0])
    moved = next(iter(first))
    save_file({name: tensor for name, tensor in first.items() if name != moved}, shards[0])
    assert f"missing from their shards: {moved!r} of {shards[0].name}" in load_error(sharded, XLMModel.from_pretrained)
    save_file(first | {"extra": torch.ones(1)}, shards[0])
    assert f"that the index does not list for them: 'extra' of {shards[0].name}" in load_error(
        sharded, XLMModel.from_pretrained
    )
    save_file(first, shards[0])
    save_file(load_file(shards[1]) | {moved: first[moved]}, shards[1])
    assert f"that the index does not list for them: {moved!r} of {shards[1].name}" in load_error(
        sharded, XLMModel.from_pretrained
    )


def test_a_missing_or_damaged_shard_is_named(sharded):
    shard = max(sharded.glob("model-*.safetensors"))
    original = shard.read_bytes()
    shard.write_bytes(original[:-9])
    assert f"{shard}: cut off" in load_error(sharded, XLMModel.from_pretrained)
    shard.unlink()
    assert f"lists the shard {shard.name}, which is missing" in load_error(sharded, XLMModel.from_pretrained)
    shard.mkdir()
    assert f"{shard}: cannot be read: Is a directory" in load_error(sharded, XLMModel.from_pretrained)


@pytest.mark.parametrize(
    "text", ["", "{", "\xff", "[]", "{}", '{"weight_map": {}}', '{"weight_map": [1]}', "[" * 100_000]
)
def test_a_malformed_index_is_rejected(sharded, text):
    (sharded / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    assert str(sharded / "model.safetensors.index.json") in load_error(sharded, XLMModel.from_pretrained)
