"""Checkpoint directories: strict loading, clear refusals, saving, what they hold, and hashing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xlm_core import (
    XLMForMultipleChoice,
    XLMForQuestionAnswering,
    XLMForQuestionAnsweringSimple,
    XLMForSequenceClassification,
    XLMForTokenClassification,
    XLMModel,
    XLMWithLMHeadModel,
)
from xlm_core.checkpoint import check_checkpoint, inspect_checkpoint, trunk_hash
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.hash_content import content_hash
from xlm_core.checkpoint.names import expected_shapes, file_to_module, module_to_file
from xlm_core.errors import CheckpointError, FatalError
from xlm_core.heads import LanguageModelHead, SequenceClassificationHead, TokenClassificationHead

CONFIG = XLMConfig(
    vocab_size=40,
    emb_dim=16,
    n_layers=2,
    n_heads=2,
    n_langs=3,
    max_position_embeddings=12,
    id2label={0: "a", 1: "b", 2: "c"},
)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A directory with a token classifier."""
    XLMForTokenClassification(CONFIG).save_pretrained(tmp_path)
    return tmp_path


def rewrite(directory, change):
    """Change the tensors of a directory in place."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def refusal(directory, load=XLMForTokenClassification.from_pretrained) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def as_bin(directory, legacy=False):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)


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
def test_what_is_saved_loads_the_same(tmp_path, model_class):
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


def test_whoever_reads_one_file_reads_all(saved):
    """A checkpoint on a shared file system is read by other users' workers."""
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_a_file_names_what_the_shapes_say(saved):
    in_file = {name: tuple(tensor.shape) for name, tensor in load_file(saved / "model.safetensors").items()}
    expected = expected_shapes(CONFIG, "token-classification", ("trunk", "head"))
    assert {name.removeprefix("transformer."): shape for name, shape in in_file.items()} == expected
    assert all(name.startswith("transformer.") != name.startswith("classifier.") for name in in_file)


def test_renaming_there_and_back_changes_nothing():
    tensors = {n: torch.randn(s) for n, s in expected_shapes(CONFIG, "question-answering", ("trunk", "head")).items()}
    back = module_to_file(file_to_module(tensors, "", ""), "", "")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bin_loads_as_safetensors_do(saved, legacy):
    expected = XLMForTokenClassification.from_pretrained(saved).state_dict()
    as_bin(saved, legacy)
    loaded = XLMForTokenClassification.from_pretrained(saved).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_a_loaded_model_does_not_change_with_its_file(saved):
    as_bin(saved)
    model = XLMForTokenClassification.from_pretrained(saved)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    size = (saved / "pytorch_model.bin").stat().st_size
    with (saved / "pytorch_model.bin").open("r+b") as file:
        file.write(b"\0" * size)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_safetensors_come_before_a_bin(saved):
    torch.save({"nonsense": torch.ones(1)}, saved / "pytorch_model.bin")
    assert XLMForTokenClassification.from_pretrained(saved)


def test_the_objective_can_be_stated_when_loading(saved):
    assert XLMForTokenClassification.from_pretrained(saved).config.causal is False
    stated = XLMForTokenClassification.from_pretrained(saved, causal=True)
    assert stated.config.causal is True
    assert stated.trunk.config.causal is True
    stated.save_pretrained(saved)
    assert XLMModel.from_pretrained(saved).config.causal is True
    assert XLMModel.from_pretrained(saved, causal=False).config.causal is False


def test_what_is_tied_is_written_once_and_read_by_either_part(tmp_path):
    model = XLMWithLMHeadModel(CONFIG)
    model.save_pretrained(tmp_path)
    assert "pred_layer.proj.weight" not in load_file(tmp_path / "model.safetensors")
    loaded, head = XLMWithLMHeadModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    assert loaded.head.pred_layer.proj.weight is loaded.trunk.embeddings.weight
    assert torch.equal(head.pred_layer.proj.weight, model.trunk.embeddings.weight)
    assert check_checkpoint(tmp_path, "language-modeling", head_only=True)
    rewrite(tmp_path, lambda tensors: tensors.pop("transformer.embeddings.weight"))
    assert "missing 1: pred_layer.proj.weight [40, 16]" in refusal(tmp_path, LanguageModelHead.from_pretrained)
    assert "missing 1: embeddings.weight [40, 16]" in refusal(tmp_path, XLMWithLMHeadModel.from_pretrained)


def test_a_head_by_itself_is_written_whole_though_it_is_tied(tmp_path):
    XLMWithLMHeadModel(CONFIG).head.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == {"pred_layer.proj.weight", "pred_layer.proj.bias"}
    assert LanguageModelHead.from_pretrained(tmp_path)


def test_what_is_tied_must_be_the_same(tmp_path):
    XLMWithLMHeadModel(CONFIG).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.update({"pred_layer.proj.weight": torch.ones(40, 16)}))
    assert "pred_layer.proj.weight: differs from embeddings.weight" in refusal(
        tmp_path, XLMWithLMHeadModel.from_pretrained
    )
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    untied = XLMWithLMHeadModel.from_pretrained(tmp_path)
    assert torch.equal(untied.head.pred_layer.proj.weight, torch.ones(40, 16))
    untied.save_pretrained(tmp_path)
    assert "pred_layer.proj.weight" in load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "model_class",
    [
        XLMForMultipleChoice,
        XLMForQuestionAnswering,
        XLMForQuestionAnsweringSimple,
        XLMForSequenceClassification,
        XLMForTokenClassification,
        XLMWithLMHeadModel,
    ],
)
def test_a_head_is_known_by_its_tensors(tmp_path, model_class):
    config = replace(CONFIG, id2label={0: "a", 1: "b"}, label2id={})
    model_class(config).save_pretrained(tmp_path)
    held = inspect_checkpoint(tmp_path)
    assert (held.heads, held.has_trunk) == ((model_class.kind,), True)
    assert held.names == {name: name for name in load_file(tmp_path / "model.safetensors")}
    model_class(config).head.save_pretrained(tmp_path)
    assert (inspect_checkpoint(tmp_path).heads, inspect_checkpoint(tmp_path).has_trunk) == ((model_class.kind,), False)


def test_a_directory_can_hold_several_heads_or_none(saved):
    heads = XLMForQuestionAnswering(CONFIG).head.state_dict()
    rewrite(saved, lambda tensors: tensors.update(heads))
    assert inspect_checkpoint(saved).heads == ("token-classification", "question-answering")
    rewrite(saved, lambda tensors: tensors.update({"pooler.weight": torch.ones(1)}))
    assert "unexpected 1: pooler.weight [1]" in refusal(saved, inspect_checkpoint)
    XLMModel(CONFIG).save_pretrained(saved)
    assert inspect_checkpoint(saved).heads == ()
    assert "embeddings.weight" in inspect_checkpoint(saved).names  # a trunk alone stands without a prefix
    TokenClassificationHead(CONFIG).save_pretrained(saved)
    rewrite(saved, lambda tensors: tensors.update({"pooler.weight": torch.ones(1)}))
    assert "unexpected 1: pooler.weight [1]" in refusal(saved, inspect_checkpoint)
    save_file({"classifier.bias": torch.ones(3)}, saved / "model.safetensors")
    assert "holds neither the trunk nor a head" in refusal(saved, inspect_checkpoint)


def test_precision_is_float32_unless_asked_for(saved):
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


def test_all_that_is_wrong_is_said_at_once(saved):
    def change(tensors):
        del tensors["transformer.layer_norm_emb.bias"], tensors["classifier.weight"]
        tensors["transformer.embeddings.weight"] = torch.ones(41, 16)
        tensors["bert.pooler.weight"] = torch.ones(4)
        tensors["classifier.scale"] = torch.ones(1)
        tensors["transformer.ffns.0.lin1.bias"] = torch.ones(64, dtype=torch.int8)

    rewrite(saved, change)
    message = refusal(saved)
    assert "missing 2: layer_norm_emb.bias [16], classifier.weight [3, 16]" in message
    assert "unexpected 2: bert.pooler.weight [4], classifier.scale [1]" in message
    assert "transformer.embeddings.weight is [41, 16], expected [40, 16]" in message
    assert "transformer.ffns.0.lin1.bias holds I8, expected floating point" in message
    with pytest.raises(CheckpointError) as checked:  # without reading a tensor
        check_checkpoint(saved, "token-classification")
    assert str(checked.value) == message


def test_a_long_list_is_cut_with_a_count(saved):
    rewrite(saved, lambda tensors: [tensors.pop(name) for name in [*tensors] if name.startswith("transformer.")])
    message = refusal(saved)
    assert "missing 37:" in message
    assert "and 32 more" in message
    assert len(message) < 600


def test_a_missing_head_is_an_error_and_never_random(tmp_path):
    XLMModel(CONFIG).save_pretrained(tmp_path)
    for load in (XLMForTokenClassification.from_pretrained, TokenClassificationHead.from_pretrained):
        assert "missing 2: classifier.weight [3, 16], classifier.bias [3]" in refusal(tmp_path, load)
    assert "sequence_summary.summary.weight" in refusal(tmp_path, SequenceClassificationHead.from_pretrained)


def test_other_heads_of_the_family_are_left_alone(saved):
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


def test_the_prefix_may_be_missing_but_not_double(saved):
    names = {}
    rewrite(saved, lambda tensors: names.update({n.removeprefix("transformer."): t for n, t in tensors.items()}))
    save_file(names, saved / "model.safetensors")
    assert XLMForTokenClassification.from_pretrained(saved)
    save_file(names | {"transformer.embeddings.weight": torch.ones(40, 16)}, saved / "model.safetensors")
    assert "transformer.embeddings.weight [40, 16], a duplicate of embeddings.weight" in refusal(saved)


def test_language_vectors_are_unexpected_unless_the_config_says_not_to_use_them(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"n_langs": 1}))
    assert "unexpected 1: transformer.lang_embeddings.weight [3, 16]" in refusal(saved)
    (saved / "config.json").write_text(json.dumps(config | {"use_lang_emb": False}))
    assert XLMForTokenClassification.from_pretrained(saved).trunk.lang_embeddings is None


def test_a_sinusoidal_table_may_be_left_out(tmp_path):
    config = XLMConfig.from_dict(CONFIG.to_dict() | {"sinusoidal_embeddings": True})
    model = XLMModel(config)
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("position_embeddings.weight"))
    loaded = XLMModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.position_embeddings.weight, model.position_embeddings.weight)
    assert not loaded.position_embeddings.weight.requires_grad


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_an_adaptive_softmax_that_torch_refuses_is_told_in_one_line():
    config = replace(CONFIG, vocab_size=2000, asm=True, asm_cutoffs=list(range(1, 400)), asm_div_value=16.0)
    for build in (XLMWithLMHeadModel, lambda config: expected_shapes(config, "language-modeling", ("head",))):
        with pytest.raises(
            FatalError, match=r"asm_cutoffs and asm_div_value: got .* expected values for an adaptive softmax"
        ) as caught:
            build(config)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "head", ["sequence-classification", "question-answering", "multiple-choice", "language-modeling"]
)
def test_a_check_asks_for_the_head(saved, head):
    assert check_checkpoint(saved, "token-classification") == XLMConfig.from_pretrained(saved)
    assert check_checkpoint(saved, "trunk")
    with pytest.raises(CheckpointError, match=f"does not contain the {head} model"):
        check_checkpoint(saved, head)


def test_a_check_of_a_head_alone_wants_no_trunk(tmp_path):
    TokenClassificationHead(replace(CONFIG, n_layers=24)).save_pretrained(tmp_path)
    assert check_checkpoint(tmp_path, "token-classification", head_only=True)
    TokenClassificationHead(CONFIG).save_pretrained(tmp_path)
    assert check_checkpoint(tmp_path, "token-classification", head_only=True)
    with pytest.raises(CheckpointError, match="missing 37"):
        check_checkpoint(tmp_path, "token-classification")
    with pytest.raises(ValueError, match="kind: got 'nonsense'"):
        check_checkpoint(tmp_path, "nonsense")  # pyright: ignore[reportArgumentType]


def test_a_missing_directory_or_file_is_named(tmp_path):
    assert "no such checkpoint directory" in refusal(tmp_path / "nowhere")
    assert "has no config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "has no weights; expected one of model.safetensors, model.safetensors.index.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "expected tensors by name, got a list"),
        ({"model": {"w": torch.ones(1)}}, "got a dict under 'model'"),
    ],
)
def test_a_bin_of_something_else_is_refused(saved, content, message):
    (saved / "model.safetensors").unlink()
    torch.save(content, saved / "pytorch_model.bin")
    assert message in refusal(saved)


def test_the_hash_changes_with_each_file_that_counts(saved):
    hashes = {content_hash(saved)}
    (saved / "README.md").write_text("not part of the model")
    torch.save({}, saved / "pytorch_model.bin")  # not the one that is loaded
    assert content_hash(saved) in hashes
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "config.json"):
        (saved / name).write_text("{}")
        hashes.add(content_hash(saved))
    (saved / "vocab.json").write_text("")
    hashes.add(content_hash(saved))
    rewrite(saved, lambda tensors: tensors["classifier.bias"].add_(1))
    hashes.add(content_hash(saved))
    assert len(hashes) == 7


def test_the_trunk_hash_tells_trunks_apart_and_knows_one_again(saved, tmp_path_factory):
    whole = trunk_hash(saved)
    alone, head_only = tmp_path_factory.mktemp("trunk"), tmp_path_factory.mktemp("head")
    XLMModel.from_pretrained(saved).save_pretrained(alone)
    TokenClassificationHead.from_pretrained(saved).save_pretrained(head_only)
    assert trunk_hash(alone) == whole
    as_bin(alone)
    assert trunk_hash(alone) == whole
    assert trunk_hash(head_only) is None
    rewrite(saved, lambda tensors: tensors["transformer.ffns.1.lin2.bias"][0].add_(1))
    assert trunk_hash(saved) != whole


def test_a_save_that_fails_leaves_the_old_checkpoint(saved):
    before = content_hash(saved)
    config = replace(CONFIG, extra={"note": object()})  # no JSON, which shows when the weights are already written
    with pytest.raises(TypeError, match="not JSON serializable"):
        XLMForTokenClassification(config).save_pretrained(saved)
    assert content_hash(saved) == before
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]
