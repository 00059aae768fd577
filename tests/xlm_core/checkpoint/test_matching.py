"""Checkpoints that do not contain the requested model are rejected with all problems."""

from dataclasses import replace

import pytest
import torch

from tests.xlm_core.checkpoint.checkpoint_files import CONFIG, load_error, rewrite
from xlm_core import (
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMConfig,
    XLMForTokenClassification,
    XLMModel,
)
from xlm_core.checkpoint import check_checkpoint
from xlm_core.errors import CheckpointError


def test_one_message_lists_all_problems(saved):
    def change(tensors):
        del tensors["transformer.layer_norm_emb.bias"], tensors["classifier.weight"]
        tensors["transformer.embeddings.weight"] = torch.ones(41, 16)
        tensors["bert.pooler.weight"] = torch.ones(4)
        tensors["classifier.scale"] = torch.ones(1)
        tensors["transformer.ffns.0.lin1.bias"] = torch.ones(64, dtype=torch.int8)

    rewrite(saved, change)
    message = load_error(saved)
    assert "missing 2: layer_norm_emb.bias [16], classifier.weight [3, 16]" in message
    assert "unexpected 2: bert.pooler.weight [4], classifier.scale [1]" in message
    assert "transformer.embeddings.weight is [41, 16], expected [40, 16]" in message
    assert "transformer.ffns.0.lin1.bias holds I8, expected floating point" in message
    with pytest.raises(CheckpointError) as checked:  # without reading a tensor
        check_checkpoint(saved, "token-classification")
    assert str(checked.value) == message


def test_a_long_list_is_shortened_with_a_count(saved):
    kept = ("transformer.embeddings.weight", "classifier.bias")
    rewrite(saved, lambda tensors: [tensors.pop(name) for name in [*tensors] if name not in kept])
    message = load_error(saved)
    assert "missing 37:" in message
    assert "and 32 more" in message
    assert len(message) < 600


def test_a_missing_head_is_an_error(tmp_path):
    XLMModel(CONFIG).save_pretrained(tmp_path)
    absent = "contains a trunk, but no token-classification head; "
    assert f"{absent}name a checkpoint with one" in load_error(tmp_path, XLMForTokenClassification.from_pretrained)
    assert f"{absent}set head to a directory with one" in load_error(tmp_path, TokenClassificationHead.from_pretrained)
    assert "but no sequence-cl" in load_error(tmp_path, SequenceClassificationHead.from_pretrained)


@pytest.mark.parametrize("n_layers", [CONFIG.n_layers, 24])
def test_a_head_is_no_checkpoint(tmp_path, n_layers):
    """Its configuration describes the trunk that it was trained with."""
    TokenClassificationHead(replace(CONFIG, n_layers=n_layers)).save_pretrained(tmp_path)
    message = (
        "contains a token-classification head without a trunk; name the checkpoint that it was trained with, and this "
        "directory as the head of a task"
    )
    assert message in load_error(tmp_path, XLMModel.from_pretrained)
    assert message in load_error(tmp_path, XLMForTokenClassification.from_pretrained)


@pytest.mark.parametrize(
    "head", ["sequence-classification", "question-answering", "multiple-choice", "language-modeling"]
)
def test_check_checkpoint_requires_the_head(saved, head):
    assert check_checkpoint(saved, "token-classification") == XLMConfig.from_pretrained(saved)
    assert check_checkpoint(saved, "trunk")
    with pytest.raises(CheckpointError, match=f"contains a token-classification head, but no {head} head"):
        check_checkpoint(saved, head)


def test_check_checkpoint_of_a_head_alone_needs_no_trunk(tmp_path):
    TokenClassificationHead(replace(CONFIG, n_layers=24)).save_pretrained(tmp_path)
    assert check_checkpoint(tmp_path, "token-classification", head_only=True)
    TokenClassificationHead(CONFIG).save_pretrained(tmp_path)
    assert check_checkpoint(tmp_path, "token-classification", head_only=True)
    with pytest.raises(CheckpointError, match="without a trunk"):
        check_checkpoint(tmp_path, "token-classification")
    with pytest.raises(ValueError, match="kind: got 'nonsense'"):
        check_checkpoint(tmp_path, "nonsense")  # pyright: ignore[reportArgumentType]


def test_a_missing_directory_or_file_is_named(tmp_path):
    assert "no such checkpoint directory" in load_error(tmp_path / "nowhere")
    assert "has no config.json" in load_error(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "has no weights; expected one of model.safetensors, model.safetensors.index.json" in load_error(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "expected tensors by name, got a list"),
        ({"model": {"w": torch.ones(1)}}, "got a dict under 'model'"),
    ],
)
def test_a_bin_without_tensors_is_rejected(saved, content, message):
    (saved / "model.safetensors").unlink()
    torch.save(content, saved / "pytorch_model.bin")
    assert message in load_error(saved)
