"""Which files make a checkpoint, and the hashes of its files and of its trunk."""

import torch

from tests.xlm_core.checkpoint.checkpoint_files import convert_to_bin, rewrite
from xlm_core import (
    TokenClassificationHead,
    XLMModel,
    content_hash,
    trunk_hash,
)
from xlm_core.checkpoint import needed_files

FORMATS = {  # in order of preference, each with the files that it needs
    "model.safetensors": [],
    "model.safetensors.index.json": ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
    "pytorch_model.bin": [],
    "pytorch_model.bin.index.json": ["pytorch_model-00001-of-00001.bin"],
    "tf_model.h5": [],
    "mlm_en_2048.pth": ["codes_en"],
}


def test_a_checkpoint_consists_of_the_files_of_one_format():
    names = [name for first, others in FORMATS.items() for name in (first, *others)]
    names += ["README.md", "optimizer.pt", "config.json", "vocab.json", "merges.txt", "model-notes.txt"]
    for first, others in FORMATS.items():
        assert needed_files(names) == ["config.json", first, *others, "vocab.json", "merges.txt"]
        names = [name for name in names if name != first]
    assert needed_files(["README.md"]) == []
    assert needed_files(["a.pth", "b.pth", "config.json"]) == ["config.json"]  # ambiguous


def test_the_content_hash_changes_with_each_file_of_the_checkpoint(saved):
    hashes = {content_hash(saved)}
    (saved / "README.md").write_text("not part of the model")
    torch.save({}, saved / "pytorch_model.bin")  # not loaded, because safetensors are preferred
    assert content_hash(saved) in hashes
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "config.json"):
        (saved / name).write_text("{}")
        hashes.add(content_hash(saved))
    (saved / "vocab.json").write_text("")
    hashes.add(content_hash(saved))
    rewrite(saved, lambda tensors: tensors["classifier.bias"].add_(1))
    hashes.add(content_hash(saved))
    assert len(hashes) == 7


def test_the_content_hash_covers_shards_and_codes(sharded, original):
    for directory, file in ((sharded, min(sharded.glob("model-*.safetensors"))), (original, original / "codes_tiny")):
        before = content_hash(directory)
        (directory / "README.md").write_text("not part of it")
        assert content_hash(directory) == before
        data = bytearray(file.read_bytes())
        data[-2] ^= 1
        file.write_bytes(data)
        assert content_hash(directory) != before


def test_the_trunk_hash_depends_only_on_the_tensors_of_the_trunk(saved, tmp_path_factory):
    expected = trunk_hash(saved)
    alone, head_only = tmp_path_factory.mktemp("trunk"), tmp_path_factory.mktemp("head")
    XLMModel.from_pretrained(saved).save_pretrained(alone)
    TokenClassificationHead.from_pretrained(saved).save_pretrained(head_only)
    assert trunk_hash(alone) == expected
    convert_to_bin(alone)
    assert trunk_hash(alone) == expected
    assert trunk_hash(head_only) is None
    rewrite(saved, lambda tensors: tensors["transformer.ffns.1.lin2.bias"][0].add_(1))
    assert trunk_hash(saved) != expected
