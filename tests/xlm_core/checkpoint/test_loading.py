"""Loading a checkpoint: precision, objective, and tensors that a file may omit or add."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.xlm_core.checkpoint.checkpoint_files import CONFIG, convert_to_bin, load_error, rewrite
from xlm_core import (
    TokenClassificationHead,
    XLMConfig,
    XLMForTokenClassification,
    XLMModel,
    XLMWithLMHeadModel,
)
from xlm_core.checkpoint.names import expected_shapes
from xlm_core.errors import FatalError


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bin_loads_like_safetensors(saved, legacy):
    expected = XLMForTokenClassification.from_pretrained(saved).state_dict()
    convert_to_bin(saved, legacy)
    loaded = XLMForTokenClassification.from_pretrained(saved).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_a_loaded_model_does_not_change_with_its_file(saved):
    convert_to_bin(saved)
    model = XLMForTokenClassification.from_pretrained(saved)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    size = (saved / "pytorch_model.bin").stat().st_size
    with (saved / "pytorch_model.bin").open("r+b") as file:
        file.write(b"\0" * size)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_models_are_equal_and_in_one_mapped_file(saved, tmp_path, dtype):
    expected = XLMForTokenClassification.from_pretrained(saved, dtype).state_dict()
    models = [XLMForTokenClassification.from_pretrained(saved, dtype, shared=tmp_path / "weights") for _ in range(2)]
    for model in models:
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())
    mapped = Path("/proc/self/maps").read_text().splitlines()
    assert len([line for line in mapped if line.endswith(f" {tmp_path}/weights")]) >= 2


def test_a_change_of_a_shared_model_changes_no_other(saved, tmp_path):
    expected = XLMForTokenClassification.from_pretrained(saved).state_dict()
    changed = XLMForTokenClassification.from_pretrained(saved, shared=tmp_path / "weights")
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.zero_()
    other = XLMForTokenClassification.from_pretrained(saved, shared=tmp_path / "weights").state_dict()
    assert all(torch.equal(other[name], tensor) for name, tensor in expected.items())


def test_a_shared_file_that_was_not_finished_is_written_again(saved, tmp_path):
    (tmp_path / "weights.tmp").write_bytes(b"incomplete")
    (tmp_path / "weights.json").write_text("{}")
    model = XLMForTokenClassification.from_pretrained(saved, shared=tmp_path / "weights")
    expected = XLMForTokenClassification.from_pretrained(saved).state_dict()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


def test_safetensors_are_preferred_to_a_bin(saved):
    torch.save({"nonsense": torch.ones(1)}, saved / "pytorch_model.bin")
    assert XLMForTokenClassification.from_pretrained(saved)


def test_the_objective_can_be_set_when_loading(saved):
    assert XLMForTokenClassification.from_pretrained(saved).config.causal is False
    stated = XLMForTokenClassification.from_pretrained(saved, causal=True)
    assert stated.config.causal is True
    assert stated.trunk.config.causal is True
    stated.save_pretrained(saved)
    assert XLMModel.from_pretrained(saved).config.causal is True
    assert XLMModel.from_pretrained(saved, causal=False).config.causal is False


def test_precision_is_float32_by_default(saved):
    rewrite(saved, lambda tensors: tensors.update({n: t.half() for n, t in tensors.items()}))
    assert {p.dtype for p in XLMForTokenClassification.from_pretrained(saved).parameters()} == {torch.float32}
    half = XLMForTokenClassification.from_pretrained(saved, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    by_name = XLMForTokenClassification.from_pretrained(saved, dtype="float64")
    assert {p.dtype for p in by_name.parameters()} == {torch.float64}
    for dtype in ("auto", "half", torch.int8):
        with pytest.raises(ValueError, match=f"dtype: got {dtype!r}, expected one of float32, float16, bfloat16, fl"):
            XLMForTokenClassification.from_pretrained(saved, dtype=dtype)
    with pytest.raises(ValueError, match="causal: got 'false', expected True, False or None"):
        XLMForTokenClassification.from_pretrained(saved, causal="false")


def test_tied_tensors_must_be_equal(tmp_path):
    XLMWithLMHeadModel(CONFIG).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.update({"pred_layer.proj.weight": torch.ones(40, 16)}))
    assert "pred_layer.proj.weight: differs from embeddings.weight" in load_error(
        tmp_path, XLMWithLMHeadModel.from_pretrained
    )
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    untied = XLMWithLMHeadModel.from_pretrained(tmp_path)
    assert torch.equal(untied.head.pred_layer.proj.weight, torch.ones(40, 16))
    untied.save_pretrained(tmp_path)
    assert "pred_layer.proj.weight" in load_file(tmp_path / "model.safetensors")


def test_other_heads_in_the_file_are_ignored(saved):
    def change(tensors):
        tensors["pred_layer.proj.weight"] = torch.ones(40, 16)
        tensors["qa_outputs.start_logits.dense.weight"] = torch.ones(1, 16)
        tensors["transformer.position_ids"] = torch.arange(12)[None]

    rewrite(saved, change)
    model = XLMForTokenClassification.from_pretrained(saved)
    trunk = XLMModel.from_pretrained(saved)
    head = TokenClassificationHead.from_pretrained(saved)
    assert torch.equal(trunk.layers[1].ffn.lin1.weight, model.trunk.layers[1].ffn.lin1.weight)
    assert torch.equal(head.classifier.weight, model.head.classifier.weight)


def test_the_prefix_of_the_trunk_is_optional_but_names_must_be_unique(saved):
    names = {}
    rewrite(saved, lambda tensors: names.update({n.removeprefix("transformer."): t for n, t in tensors.items()}))
    save_file(names, saved / "model.safetensors")
    assert XLMForTokenClassification.from_pretrained(saved)
    save_file(names | {"transformer.embeddings.weight": torch.ones(40, 16)}, saved / "model.safetensors")
    assert "transformer.embeddings.weight [40, 16], a duplicate of embeddings.weight" in load_error(saved)


def test_language_embeddings_are_unexpected_unless_the_config_disables_them(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"n_langs": 1}))
    assert "unexpected 1: transformer.lang_embeddings.weight [3, 16]" in load_error(saved)
    (saved / "config.json").write_text(json.dumps(config | {"use_lang_emb": False}))
    assert XLMForTokenClassification.from_pretrained(saved).trunk.lang_embeddings is None


def test_a_missing_sinusoidal_table_is_computed(tmp_path):
    config = XLMConfig.from_dict(CONFIG.to_dict() | {"sinusoidal_embeddings": True})
    model = XLMModel(config)
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("position_embeddings.weight"))
    loaded = XLMModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.position_embeddings.weight, model.position_embeddings.weight)
    assert not loaded.position_embeddings.weight.requires_grad


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_an_adaptive_softmax_that_torch_rejects_gives_a_message_of_one_line():
    config = replace(CONFIG, vocab_size=2000, asm=True, asm_cutoffs=list(range(1, 400)), asm_div_value=16.0)
    for build in (XLMWithLMHeadModel, lambda config: expected_shapes(config, "language-modeling", ("head",))):
        with pytest.raises(
            FatalError, match=r"asm_cutoffs and asm_div_value: got .* expected values for an adaptive softmax"
        ) as caught:
            build(config)
        assert "\n" not in str(caught.value)
