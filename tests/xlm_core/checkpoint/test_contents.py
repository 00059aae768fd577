"""The contents of a checkpoint directory: which heads, and whether a trunk."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.xlm_core.checkpoint.checkpoint_files import CONFIG, load_error, rewrite
from xlm_core import (
    TokenClassificationHead,
    XLMForMultipleChoice,
    XLMForQuestionAnswering,
    XLMForQuestionAnsweringSimple,
    XLMForSequenceClassification,
    XLMForTokenClassification,
    XLMModel,
    XLMWithLMHeadModel,
)
from xlm_core.checkpoint import inspect_checkpoint


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
def test_heads_are_found_by_their_tensors(tmp_path, model_class):
    config = replace(CONFIG, id2label={0: "a", 1: "b"}, label2id={})
    model_class(config).save_pretrained(tmp_path)
    found = inspect_checkpoint(tmp_path)
    assert (found.heads, found.has_trunk) == ((model_class.kind,), True)
    assert found.names == {name: name for name in load_file(tmp_path / "model.safetensors")}
    model_class(config).head.save_pretrained(tmp_path)
    assert (inspect_checkpoint(tmp_path).heads, inspect_checkpoint(tmp_path).has_trunk) == ((model_class.kind,), False)


def test_a_directory_can_contain_several_heads_or_none(saved):
    heads = XLMForQuestionAnswering(CONFIG).head.state_dict()
    rewrite(saved, lambda tensors: tensors.update(heads))
    assert inspect_checkpoint(saved).heads == ("token-classification", "question-answering")
    rewrite(saved, lambda tensors: tensors.update({"pooler.weight": torch.ones(1)}))
    assert "unexpected 1: pooler.weight [1]" in load_error(saved, inspect_checkpoint)
    XLMModel(CONFIG).save_pretrained(saved)
    assert inspect_checkpoint(saved).heads == ()
    assert "embeddings.weight" in inspect_checkpoint(saved).names  # a trunk without a head has no prefix
    TokenClassificationHead(CONFIG).save_pretrained(saved)
    rewrite(saved, lambda tensors: tensors.update({"pooler.weight": torch.ones(1)}))
    assert "unexpected 1: pooler.weight [1]" in load_error(saved, inspect_checkpoint)
    save_file({"classifier.bias": torch.ones(3)}, saved / "model.safetensors")
    assert "holds neither the trunk nor a head" in load_error(saved, inspect_checkpoint)
