"""Small checkpoints for tests: saving, changing and rejecting them."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from xlm_core import XLMConfig, XLMForTokenClassification, XLMModel
from xlm_core.errors import CheckpointError

CONFIG = XLMConfig(
    vocab_size=40,
    emb_dim=16,
    n_layers=2,
    n_heads=2,
    n_langs=3,
    max_position_embeddings=12,
    id2label={0: "a", 1: "b", 2: "c"},
)


def rewrite(directory, change):
    """Change the tensors of a directory in place."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def convert_to_bin(directory, legacy=False):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)


def load_error(directory, load=XLMForTokenClassification.from_pretrained, error=CheckpointError) -> str:
    """Return the message of the error that loading a directory raises, of one line with the directory."""
    with pytest.raises(error) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def file_error(file, load=XLMModel.from_pretrained) -> str:
    """Return the short message of the error that loading a directory with a damaged file raises."""
    message = load_error(file.parent, load)
    assert str(file) in message
    assert len(message) < 600 + len(str(file))
    return message
