"""Gradients and updates of the weights compared with those of the reference."""

import numpy as np
import pytest
import torch
import transformers

from tests.parity.reference_model import reference, save
from tests.parity.training.test_losses import MASKING, NO_DROPOUT
from tests.parity.training.training_examples import make_examples, pad, padded
from xlm_core.checkpoint import module_to_file
from xlm_core.heads import LanguageModelHead, TokenClassificationHead
from xlm_core.model import Trunk
from xlm_core.training import (
    LM_HEAD,
    MaskedLanguageModeling,
    RowSampler,
    Schedule,
    TokenClassification,
    TrainedObjective,
    Trainer,
    TrainerSettings,
    TrainingModel,
)

GRADIENTS, WEIGHTS = 2e-4, 2e-4


def by_file_name(model, tensor_of):
    """Return a tensor for each parameter, by the names that the reference gives them."""
    tensors = {}
    for name, parameter in model.named_parameters():
        part, _, rest = name.replace(f"heads.{LM_HEAD}.", "head.").replace("heads.tags.", "head.").partition(".")
        if parameter.requires_grad:
            tensors[f"{part}.{rest}"] = tensor_of(parameter)
    return module_to_file(tensors, "trunk.", "head.")


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_word_embeddings": False}, {"sinusoidal_embeddings": True}, {"gelu_activation": False}],
    ids=["tied", "untied", "sinusoidal", "relu"],
)
def test_gradients_of_masked_language_modeling(tmp_path, parity, changes):
    theirs = reference(transformers.XLMWithLMHeadModel, **NO_DROPOUT, **changes)
    save(theirs, tmp_path, "safetensors")
    model = TrainingModel(Trunk.from_pretrained(tmp_path), {LM_HEAD: LanguageModelHead.from_pretrained(tmp_path)})
    objective = MaskedLanguageModeling(model.heads[LM_HEAD], MASKING)
    examples = objective.prepare(make_examples(), np.random.default_rng(0))
    objective.run(model.train().trunk, objective.make_batch(examples)).loss.backward()
    labels = pad(examples.targets, examples.sequences.cu_seqlens, -100)
    theirs(**padded(examples.sequences), labels=labels).loss.backward()
    got = by_file_name(model, lambda parameter: parameter.grad)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    assert expected.keys() - got.keys() <= {"transformer.position_embeddings.weight"}
    for name in got:
        parity("training, gradients", f"masked, {changes or 'tied'}", got[name], expected[name], GRADIENTS)


def test_weights_after_three_updates(tmp_path, parity):
    """AdamW of torch, with the same examples, rates and limit of the gradient."""
    theirs = reference(transformers.XLMForTokenClassification, num_labels=3, **NO_DROPOUT)
    save(theirs, tmp_path, "safetensors")
    head = TokenClassificationHead.from_pretrained(tmp_path)
    examples = make_examples(targets=np.arange(81) % 3, per_token=True)
    schedule = Schedule(1e-2, warmup_steps=2, total_steps=4, decay="linear")
    settings = TrainerSettings(schedule, tokens_per_step=81, max_tokens=40, epsilon=1e-3, weight_decay=0.1)
    trained = TrainedObjective(TokenClassification(head), RowSampler(examples, np.zeros(8, np.int64), None, 0))
    trainer = Trainer(TrainingModel(Trunk.from_pretrained(tmp_path), {"tags": head}), {"tags": trained}, settings)
    decayed = [parameter for parameter in theirs.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in theirs.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], eps=1e-3
    )
    labels = pad(examples.targets, examples.sequences.cu_seqlens, -100)
    for rate in (5e-3, 1e-2, 1e-2):
        loss = theirs(**padded(examples.sequences), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        result = trainer.run_step()
        parity("training, loss", "three updates", result.loss, loss, 1e-4)
        parity("training, norm of the gradient", "three updates", result.grad_norm, norm, 1e-3)
        assert result.learning_rate == rate
    got = by_file_name(trainer.model, lambda parameter: parameter.detach())
    expected = theirs.state_dict()
    for name in got:
        parity("training, weights", "three updates", got[name], expected[name], WEIGHTS)
