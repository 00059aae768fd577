"""`xlm convert` reads every supported format, and writes one layout with identical tensors."""

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from jobs.cli import main
from jobs.commands.checkpoint.convert import convert
from tests.fixtures.original_release import content_of, save_original
from tests.parity.reference_model import reference
from xlm_core import XLMConfig, XLMForQuestionAnswering, XLMTokenizer, XLMWithLMHeadModel, trunk_hash
from xlm_core.checkpoint import inspect_checkpoint
from xlm_core.errors import FatalError

TENSORFLOW = Path(__file__).parents[1] / "fixtures" / "tensorflow"


def file_names(directory):
    return sorted(file.name for file in directory.iterdir())


def assert_same_tensors(source, target):
    """Compare all tensors by name, each read by the reader of its format."""
    before, after = inspect_checkpoint(source), inspect_checkpoint(target)
    assert after.heads == before.heads
    assert after.names.keys() == before.names.keys()
    assert {*load_file(target / "model.safetensors")} == {*before.names}
    for name, old in before.names.items():
        source_tensor, target_tensor = before.weights.read(old), after.weights.read(name)
        assert (source_tensor.dtype, source_tensor.shape) == (target_tensor.dtype, target_tensor.shape), name
        assert torch.equal(source_tensor, target_tensor), name


@pytest.mark.parametrize("legacy", [False, True])
def test_original_release_is_converted_once_its_case_is_given(tmp_path, legacy, capsys):
    model = reference(transformers.XLMWithLMHeadModel)
    source = save_original(content_of(model, module="module." if legacy else ""), tmp_path / "source", legacy=legacy)
    target = tmp_path / "made" / "target"
    assert main(["convert", str(source), str(target)]) == 2
    assert "does not record whether its training texts were lower-cased" in capsys.readouterr().err
    assert not target.exists()
    assert main(["convert", str(source), str(target), "--cased"]) == 0
    written = file_names(target)
    assert {"config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json"} <= {*written}
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == [str(target / name) for name in written]
    assert_same_tensors(source, target)
    config = XLMConfig.from_pretrained(target)
    assert (config.lang2id, config.mask_index) == ({"de": 0, "en": 1, "zh": 2}, 5)

    read = transformers.XLMWithLMHeadModel.from_pretrained(target).eval()
    ids = torch.randint(3, 60, (1, 9))
    assert torch.equal(read(ids).logits, model(ids).logits)
    tokens = transformers.XLMTokenizer.from_pretrained(target)
    assert tokens.do_lowercase_and_remove_accent is False
    ours = XLMTokenizer.from_pretrained(target).encode_batch(["hello B hel"], ["en"])
    assert tokens("hello B hel").input_ids == ours.input_ids.tolist()


@pytest.mark.parametrize("name", sorted(directory.name for directory in TENSORFLOW.iterdir()))
def test_tensorflow_checkpoint_is_converted(tmp_path, name):
    convert(TENSORFLOW / name, tmp_path / "target")
    assert file_names(tmp_path / "target") == ["config.json", "model.safetensors"]
    assert_same_tensors(TENSORFLOW / name, tmp_path / "target")
    reference_class = getattr(transformers, name.partition("-")[0].removeprefix("TF"))
    _, report = reference_class.from_pretrained(tmp_path / "target", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_all_heads_and_the_precision_are_kept(tmp_path):
    source = tmp_path / "source"
    model = reference(transformers.XLMForTokenClassification, num_labels=3).bfloat16()
    model.config.save_pretrained(source)
    answers = XLMForQuestionAnswering(XLMConfig.from_pretrained(source)).head.state_dict()
    torch.save(model.state_dict() | answers, source / "pytorch_model.bin")
    convert(source, tmp_path / "target")
    assert_same_tensors(source, tmp_path / "target")
    assert inspect_checkpoint(tmp_path / "target").heads == ("token-classification", "question-answering")
    assert trunk_hash(source) == trunk_hash(tmp_path / "target")


def test_old_layer_norm_names_are_renamed_and_tied_tensors_are_kept(tmp_path):
    source = tmp_path / "source"
    model = reference(transformers.XLMWithLMHeadModel)
    model.config.save_pretrained(source)
    state = {name.replace("layer_norm_emb.weight", "layer_norm_emb.gamma"): t for name, t in model.state_dict().items()}
    torch.save(state, source / "pytorch_model.bin")
    convert(source, tmp_path / "target")
    tensors = load_file(tmp_path / "target" / "model.safetensors")
    assert tensors.keys() == model.state_dict().keys()
    assert XLMWithLMHeadModel.from_pretrained(tmp_path / "target")


def test_converted_tokenizer_returns_the_same_ids(tmp_path, checkpoint, corpus):
    convert(checkpoint, tmp_path / "target")
    texts, langs = ([row[key] for row in corpus if row["lang"] != "ja"] for key in ("text", "lang"))
    before, after = (
        XLMTokenizer.from_pretrained(d).encode_batch(texts, langs) for d in (checkpoint, tmp_path / "target")
    )
    assert before.input_ids.tolist() == after.input_ids.tolist()
    with pytest.raises(FatalError, match="do_lowercase_and_remove_accent is True, not False"):
        convert(checkpoint, tmp_path / "other", lowercase=False)


def test_files_are_never_overwritten_and_a_failure_leaves_no_files(tmp_path):
    source = TENSORFLOW / "TFXLMModel"
    taken = tmp_path / "taken"
    taken.mkdir()
    convert(source, taken)  # empty directories are allowed
    before = (taken / "model.safetensors").read_bytes()
    (tmp_path / "file").write_text("")
    for target in (taken, tmp_path / "file", source):
        with pytest.raises(FatalError, match="exists already"):
            convert(source, target)
    assert (taken / "model.safetensors").read_bytes() == before
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    (broken / "vocab.json").write_text("{}")
    with pytest.raises(FatalError, match=r"merges\.txt"):
        convert(broken, tmp_path / "target")
    assert file_names(tmp_path) == ["broken", "file", "taken"]
    with pytest.raises(FatalError, match="has no tokenizer; remove --lowercase"):
        convert(source, tmp_path / "target", lowercase=True)
