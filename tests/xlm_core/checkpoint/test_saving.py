"""Saving a checkpoint: names, tied tensors, permissions, and what a failure leaves."""

import json
import resource
import signal
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tests.xlm_core.checkpoint.checkpoint_files import CONFIG, load_error, rewrite
from xlm_core import (
    LanguageModelHead,
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMForSequenceClassification,
    XLMForTokenClassification,
    XLMModel,
    XLMWithLMHeadModel,
    content_hash,
)
from xlm_core.checkpoint import check_checkpoint
from xlm_core.checkpoint.names import expected_shapes, module_sources, module_to_file


@pytest.mark.parametrize(
    "model_class",
    [
        XLMModel,
        XLMForTokenClassification,
        XLMForSequenceClassification,
        TokenClassificationHead,
        SequenceClassificationHead,
    ],
)
def test_a_saved_module_loads_with_the_same_tensors(tmp_path, model_class):
    model = model_class(CONFIG)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.config.id2label == CONFIG.id2label
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [model_class.reference_class]


def test_all_saved_files_have_the_same_permissions(saved):
    """Workers of other users may read a checkpoint on a shared file system."""
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_saved_tensors_have_the_expected_names_and_shapes(saved):
    in_file = {name: tuple(tensor.shape) for name, tensor in load_file(saved / "model.safetensors").items()}
    expected = expected_shapes(CONFIG, "token-classification", ("trunk", "head"))
    assert {name.removeprefix("transformer."): shape for name, shape in in_file.items()} == expected
    assert all(name.startswith("transformer.") != name.startswith("classifier.") for name in in_file)


def test_renaming_to_module_and_back_changes_nothing():
    tensors = {n: torch.randn(s) for n, s in expected_shapes(CONFIG, "question-answering", ("trunk", "head")).items()}
    sources = module_sources(tensors, "", "")
    back = module_to_file({name: torch.cat([tensors[n] for n in parts]) for name, parts in sources.items()}, "", "")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_tied_tensors_are_written_once_and_read_by_both_parts(tmp_path):
    model = XLMWithLMHeadModel(CONFIG)
    model.save_pretrained(tmp_path)
    assert "pred_layer.proj.weight" not in load_file(tmp_path / "model.safetensors")
    loaded, head = XLMWithLMHeadModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    assert loaded.head.pred_layer.proj.weight is loaded.trunk.embeddings.weight
    assert torch.equal(head.pred_layer.proj.weight, model.trunk.embeddings.weight)
    assert check_checkpoint(tmp_path, "language-modeling", head_only=True)
    rewrite(tmp_path, lambda tensors: tensors.pop("transformer.embeddings.weight"))
    assert "missing 1: pred_layer.proj.weight [40, 16]" in load_error(tmp_path, LanguageModelHead.from_pretrained)
    assert "missing 1: embeddings.weight [40, 16]" in load_error(tmp_path, XLMWithLMHeadModel.from_pretrained)


def test_a_head_alone_is_saved_with_its_tied_tensor(tmp_path):
    XLMWithLMHeadModel(CONFIG).head.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == {"pred_layer.proj.weight", "pred_layer.proj.bias"}
    assert LanguageModelHead.from_pretrained(tmp_path)


def test_a_save_that_fails_before_weights_are_written_keeps_the_old_checkpoint(saved):
    before = content_hash(saved)
    config = replace(CONFIG, extra={"note": object()})  # not JSON serializable
    with pytest.raises(TypeError, match="not JSON serializable"):
        XLMForTokenClassification(config).save_pretrained(saved)
    assert content_hash(saved) == before
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_a_save_that_fails_while_weights_are_written_keeps_the_old_checkpoint(saved):
    """The new configuration is complete at that point. The limit is on the size of any file that is written."""
    before = content_hash(saved)
    config = replace(CONFIG, n_layers=8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails instead
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(SafetensorError, match="File too large"):
            XLMForTokenClassification(config).save_pretrained(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert content_hash(saved) == before
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]
    XLMForTokenClassification(config).save_pretrained(saved)  # without the limit it succeeds
    assert content_hash(saved) != before
