"""A head over a frozen trunk that runs once learns what it learns if the trunk runs in each step."""

from dataclasses import replace

import pytest
import torch

from tests.xlm_core.training.small_training import losses, make_examples, make_trainer
from xlm_core.training import RowSampler, Trainer, freeze, group_by_lang


def frozen_trainer(name, folder=None, examples=None):
    """Return a trainer whose trunk runs once if `folder` is given, for the files with its output."""
    trainer = make_trainer(name, freeze_trunk=True, tokens_per_step=150, max_tokens=100, dropout=0.2)
    trained = trainer.objectives[name]
    examples, dev = examples or make_examples(name), trained.dev
    if folder is not None:
        trunk, objective = trainer.model.trunk, trained.objective
        examples = freeze(examples, trunk, objective, folder / "train", 100)
        dev = freeze(dev, trunk, objective, folder / "dev", 100)
        trainer.model.trunk = torch.nn.Module()  # is not run
        trainer.model.trunk.embeddings = trunk.embeddings
    sampler = RowSampler(examples, group_by_lang(examples), 0.5, 0)
    return Trainer(trainer.model, {name: replace(trained, sampler=sampler, dev=dev)}, trainer.settings)


@pytest.mark.parametrize("name", ["topic", "tags", "answers", "beam answers", "choice"])
def test_losses_and_evaluations_are_the_same(tmp_path, name):
    once, each_time = frozen_trainer(name, tmp_path), frozen_trainer(name)
    assert losses(once, 12) == pytest.approx(losses(each_time, 12), abs=1e-4)
    assert once.evaluate(name) == pytest.approx(each_time.evaluate(name), abs=1e-4)
    assert [once.run_step()[3] for _ in range(3)] == [each_time.run_step()[3] for _ in range(3)]  # numbers of tokens


@pytest.mark.parametrize(
    ("name", "num_vectors"),
    [
        ("topic", lambda examples: len(examples)),
        ("choice", lambda examples: 2 * len(examples)),
        ("answers", lambda examples: examples.row_lengths.sum()),
        ("tags", lambda examples: (examples.targets != -100).sum()),
    ],
)
def test_only_what_the_head_reads_is_kept(tmp_path, name, num_vectors):
    examples = make_examples(name)
    if name == "tags":
        examples.targets[examples.sequences.cu_seqlens[:-1]] = 0  # the first token of a row is always kept
    frozen_trainer(name, tmp_path, examples)
    assert (tmp_path / "train").stat().st_size == 4 * 16 * num_vectors(examples)


def test_rows_without_a_label(tmp_path):
    examples = make_examples("tags")
    examples.targets[: examples.row_lengths[:20].sum()] = -100
    once, each_time = frozen_trainer("tags", tmp_path, examples), frozen_trainer("tags", None, examples)
    assert losses(once, 8) == pytest.approx(losses(each_time, 8), abs=1e-4)


def test_masked_tokens_cannot_be_frozen(tmp_path):
    trainer = make_trainer("masked")
    objective = trainer.objectives["masked"].objective
    with pytest.raises(ValueError, match="got MaskedLanguageModeling, whose input to the trunk differs in each step"):
        freeze(make_examples("masked"), trainer.model.trunk, objective, tmp_path / "train", 100)
    assert not list(tmp_path.iterdir())
