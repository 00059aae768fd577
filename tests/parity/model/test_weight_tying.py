"""Tied word embeddings: the trunk and the language model head share one parameter."""

import copy

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.parity.reference_model import padded, reference, save, sequences
from xlm_core import XLMModel, XLMWithLMHeadModel
from xlm_core.errors import CheckpointError
from xlm_core.heads import LanguageModelHead


def shares_one_parameter(model):
    return model.head.pred_layer.proj.weight is model.trunk.embeddings.weight


@pytest.mark.parametrize("file_format", ["safetensors", "bin"])
def test_tied_weights_stay_one_parameter_after_loading_moving_and_saving(tmp_path, file_format):
    theirs = reference(transformers.XLMWithLMHeadModel)
    (tmp_path / "theirs").mkdir()
    model = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path / "theirs", file_format))
    assert shares_one_parameter(model)
    assert shares_one_parameter(XLMWithLMHeadModel(model.config))
    assert shares_one_parameter(model.to(torch.float64))
    assert shares_one_parameter(copy.deepcopy(model).to("meta").to_empty(device="cpu"))
    model.load_state_dict(model.state_dict())
    assert shares_one_parameter(model.to(torch.float32))
    num_fused = 2 * 2 * 2  # q, k and v are one parameter: 2 fewer weights and 2 fewer biases in each of 2 layers
    assert len(list(model.parameters())) == len(list(theirs.parameters())) - num_fused
    with torch.no_grad():
        model.trunk.embeddings.weight[7] += 1
    assert torch.equal(model.head.pred_layer.proj.weight[7], model.trunk.embeddings.weight[7])
    model.save_pretrained(tmp_path / "ours")
    names = load_file(tmp_path / "ours" / "model.safetensors").keys()
    assert "transformer.embeddings.weight" in names
    assert "pred_layer.proj.weight" not in names
    assert shares_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path / "ours"))
    again = transformers.XLMWithLMHeadModel.from_pretrained(tmp_path / "ours")
    assert torch.equal(again.pred_layer.proj.weight, model.trunk.embeddings.weight)


def test_gradient_of_tied_weights_includes_both_uses(tmp_path):
    theirs = reference(transformers.XLMWithLMHeadModel)
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4]))
    for model in (ours, theirs):
        model(ids, attention_mask=mask, langs=langs, labels=ids).loss.backward()
    expected = theirs.transformer.embeddings.weight.grad
    torch.testing.assert_close(ours.trunk.embeddings.weight.grad, expected, atol=1e-5, rtol=0)


def test_untied_weights_stay_separate(tmp_path):
    theirs = reference(transformers.XLMWithLMHeadModel, tie_word_embeddings=False)
    model = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    assert not torch.equal(model.head.pred_layer.proj.weight, model.trunk.embeddings.weight)
    assert torch.equal(model.head.pred_layer.proj.weight, theirs.pred_layer.proj.weight)
    model.save_pretrained(tmp_path)
    assert not shares_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path))


def test_file_with_different_tied_weights_raises_an_error(tmp_path):
    save(reference(transformers.XLMWithLMHeadModel), tmp_path, "safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["pred_layer.proj.weight"] = tensors["transformer.embeddings.weight"] + 1
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model.safetensors: pred_layer.proj.weight: differs from embeddings"):
        XLMWithLMHeadModel.from_pretrained(tmp_path)


def test_tied_weights_may_contain_nan(tmp_path):
    model = XLMWithLMHeadModel.from_pretrained(save(reference(transformers.XLMWithLMHeadModel), tmp_path, "bin"))
    with torch.no_grad():
        model.trunk.embeddings.weight[7] = torch.nan
    model.save_pretrained(tmp_path)
    assert XLMWithLMHeadModel.from_pretrained(tmp_path).head.pred_layer.proj.weight[7].isnan().all()
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["pred_layer.proj.weight"] = tensors["transformer.embeddings.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert shares_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path))


def test_separate_head_can_be_tied_to_a_trunk(tmp_path):
    save(reference(transformers.XLMWithLMHeadModel), tmp_path, "safetensors")
    trunk, head = XLMModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    assert torch.equal(head.pred_layer.proj.weight, trunk.embeddings.weight)
    head.tie(trunk.embeddings)
    assert head.pred_layer.proj.weight is trunk.embeddings.weight
