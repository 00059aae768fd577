"""Checkpoints that training writes load in the reference, and the reverse."""

import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, reference, save
from tests.parity.training.training_examples import padded
from tests.xlm_core.training.small_training import losses, make_examples, make_trainer
from xlm_core.heads import LanguageModelHead, SequenceClassificationHead, TokenClassificationHead
from xlm_core.model import PackedBatch, Trunk
from xlm_core.training import (
    LM_HEAD,
    MaskedLanguageModeling,
    RowSampler,
    Schedule,
    TrainedObjective,
    Trainer,
    TrainerSettings,
    TrainingModel,
    group_by_lang,
)

CLASSES = {
    "masked": transformers.XLMWithLMHeadModel,
    "causal": transformers.XLMWithLMHeadModel,
    "topic": transformers.XLMForSequenceClassification,
    "tags": transformers.XLMForTokenClassification,
    "answers": transformers.XLMForQuestionAnsweringSimple,
    "choice": transformers.XLMForMultipleChoice,
}


def packed(name):
    sequences = make_examples(name, num_rows=8, seed=3).sequences
    return PackedBatch.from_ragged(sequences.input_ids, sequences.cu_seqlens, sequences.langs)


@torch.no_grad()
def logits(trunk, head, batch):
    return head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)


@torch.no_grad()
def logits_of_reference(folder, name):
    """Return what the reference computes, without loading messages about weights that are missing or new."""
    theirs, info = CLASSES[name].from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    sequences = make_examples(name, num_rows=8, seed=3).sequences
    arguments = padded(sequences)
    if name == "choice":
        return theirs.eval()(**{key: value.unflatten(0, (8, 2)) for key, value in arguments.items()}).logits.flatten()
    output = theirs.eval()(**arguments)
    is_token = arguments["attention_mask"].bool()
    if name == "answers":
        return torch.stack([output.start_logits[is_token], output.end_logits[is_token]], dim=-1)
    return output.logits if name == "topic" else output.logits[is_token]


@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", CLASSES)
def test_trained_model_in_the_reference(tmp_path, parity, name, is_tied):
    trainer = make_trainer(name, tie_word_embeddings=is_tied)
    losses(trainer, 4)
    folders = trainer.model.save(tmp_path)
    (head,) = trainer.model.heads.values()
    expected = logits(trainer.model.eval().trunk, head, packed(name))
    got = logits_of_reference(tmp_path / "model", name)
    parity("trained here, logits", f"{name}, {'tied' if is_tied else 'untied'}", got, expected, LOGITS)
    assert len(folders) == (1 if name in ("masked", "causal") else 2)
    for folder in folders:  # the head is in both
        assert torch.equal(logits(trainer.model.trunk, type(head).from_pretrained(folder), packed(name)), expected)


def test_several_heads_are_written_apart_from_the_trunk(tmp_path, parity):
    trainer = make_trainer("masked", "topic", "tags", settings={"average_decay": 0.5})
    losses(trainer, 6)
    with trainer.averaged_weights():
        folders = trainer.model.save(tmp_path)
        expected = {
            name: logits(trainer.model.trunk, head, packed("tags")) for name, head in trainer.model.heads.items()
        }
    names = {"model": LM_HEAD, "topic": "topic", "tags": "tags"}
    assert [folder.relative_to(tmp_path).as_posix() for folder in folders] == ["model", "heads/topic", "heads/tags"]
    trunk = Trunk.from_pretrained(tmp_path / "model")
    for folder, head_class in zip(
        folders, (LanguageModelHead, SequenceClassificationHead, TokenClassificationHead), strict=True
    ):
        got = logits(trunk, head_class.from_pretrained(folder), packed("tags"))
        parity("trained here, logits", "several heads, loaded here", got, expected[names[folder.name]], 0)
    expected = logits_of_reference(tmp_path / "model", "masked")
    got = logits(trunk, LanguageModelHead.from_pretrained(tmp_path / "model"), packed("masked"))
    parity("trained here, logits", "average of the weights", got, expected, LOGITS)


@pytest.mark.parametrize("name", ["masked", "tags"])
def test_head_over_a_frozen_trunk_is_written_alone(tmp_path, parity, name):
    trainer = make_trainer(name, freeze_trunk=True)
    losses(trainer, 2)
    folders = trainer.model.save(tmp_path)
    (head,) = trainer.model.heads.values()
    assert folders == [tmp_path / "heads" / (LM_HEAD if name == "masked" else "tags")]
    got = logits(trainer.model.eval().trunk, type(head).from_pretrained(folders[0]), packed("tags"))
    parity("trained here, logits", "head alone", got, logits(trainer.model.trunk, head, packed("tags")), 0)


def test_checkpoint_of_the_reference_is_trained_further(tmp_path, parity):
    changes = {"vocab_size": 120, "emb_dim": 16, "n_heads": 2}
    save(reference(transformers.XLMWithLMHeadModel, **changes), tmp_path / "before", "safetensors")
    head = LanguageModelHead.from_pretrained(tmp_path / "before")
    model = TrainingModel(Trunk.from_pretrained(tmp_path / "before"), {LM_HEAD: head})
    objective = make_trainer("masked").objectives["masked"].objective
    objective = MaskedLanguageModeling(head, objective._masking)
    examples = make_examples("masked")
    trained = TrainedObjective(objective, RowSampler(examples, group_by_lang(examples), None, 0), dev=examples)
    settings = TrainerSettings(Schedule(1e-3, 0, 10, "constant"), tokens_per_step=300, max_tokens=300)
    trainer = Trainer(model, {"masked": trained}, settings)
    before = trainer.evaluate("masked").loss
    losses(trainer, 8)
    assert trainer.evaluate("masked").loss < before
    model.save(tmp_path / "after")
    got = logits(model.eval().trunk, head, packed("masked"))
    expected = logits_of_reference(tmp_path / "after/model", "masked")
    parity("trained here, logits", "from a checkpoint of the reference", got, expected, LOGITS)
