"""Training steps: how gradients are computed, limited and applied."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.xlm_core.training.small_training import OBJECTIVES, losses, make_examples, make_trainer
from xlm_core.errors import FatalError
from xlm_core.training import Schedule, TrainedObjective, Trainer, TrainerSettings

CONSTANT = Schedule(1e-2, warmup_steps=0, total_steps=100, decay="constant")


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_falls_on_the_same_examples(name):
    trainer = make_trainer(name, tokens_per_step=2_000, max_tokens=1_000, settings={"schedule": CONSTANT})
    trainer.objectives[name] = replace(trainer.objectives[name], dev=make_examples(name))
    before = trainer.evaluate(name)
    losses(trainer, 30)
    after = trainer.evaluate(name)
    assert after.loss < before.loss
    if before.accuracy is not None:
        assert after.accuracy > before.accuracy


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "ranking"])
def test_several_batches_equal_one(name):
    """Not for ranking, whose loss compares the texts of a batch."""
    # With a large epsilon, gradients that are 0 but for rounding, such as those of the bias of a softmax, stay small.
    one, several = (make_trainer(name, max_tokens=size, settings={"epsilon": 1e-3}) for size in (1_000, 70))
    for _ in range(3):
        expected, got = one.run_step(), several.run_step()
        assert got.loss == pytest.approx(expected.loss, abs=1e-5)
        assert got.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
        assert got.num_tokens == expected.num_tokens
    for name, parameter in one.parameters.items():
        torch.testing.assert_close(several.parameters[name], parameter, atol=1e-4, rtol=0)


def test_gradient_is_limited():
    """Plain gradients are compared by the first moments of the optimizer, which are a tenth of them."""
    free, limited = (make_trainer("topic", settings={"max_grad_norm": limit}) for limit in (None, 0.1))
    expected, got = free.run_step(), limited.run_step()
    assert got == expected
    assert got.grad_norm > 0.1
    norms = []
    for trainer in (free, limited):
        moments = [state["exp_avg"] for state in trainer.optimizer.state.values()]
        norms.append(10 * float(torch.nn.utils.get_total_norm(moments)))
    assert norms == pytest.approx([expected.grad_norm, 0.1], rel=1e-3)
    loose = make_trainer("topic", settings={"max_grad_norm": 1e3})
    loose.run_step()
    assert not changed(weights(free), weights(loose))


def test_frozen_trunk_does_not_change_and_its_head_does():
    trainer = make_trainer("tags", freeze_trunk=True, dropout=0.5)
    before = weights(trainer)
    losses(trainer, 3)
    names = changed(before, weights(trainer))
    assert names
    assert all(name.startswith("heads.") for name in names)
    assert all(not module.training for module in trainer.model.trunk.modules())
    assert trainer.model.heads["tags"].training


def test_head_that_is_not_run_does_not_change():
    trainer = make_trainer("topic", "tags")
    before = weights(trainer)
    assert trainer.run_step().objective == "topic"
    names = changed(before, weights(trainer))
    assert any(name.startswith("heads.topic") for name in names)
    assert any(name.startswith("trunk.") for name in names)
    assert not any(name.startswith("heads.tags") for name in names)


def test_average_of_the_weights():
    trainer = make_trainer("topic", settings={"average_decay": 0.9, "schedule": CONSTANT})
    name = "trunk.layers.0.ffn.lin1.weight"
    expected = trainer.parameters[name].detach().clone()
    for step in range(5):
        trainer.run_step()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * trainer.parameters[name].detach()
    latest = weights(trainer)
    with trainer.averaged_weights():
        torch.testing.assert_close(trainer.parameters[name].detach(), expected)
        inside = trainer.evaluate("topic")  # swaps again
        assert not torch.equal(trainer.parameters[name], expected)
    assert not changed(latest, weights(trainer))
    plain = make_trainer("topic")
    plain.model.load_state_dict(latest)
    assert inside != trainer.evaluate("topic")
    assert plain.evaluate("topic") == inside


def test_schedules():
    def rates(decay, warmup_steps=4):
        schedule = Schedule(1.0, warmup_steps, total_steps=12, decay=decay)
        return [schedule.rate(step) for step in range(14)]

    warmup = [0.25, 0.5, 0.75, 1.0]
    assert rates("constant") == [*warmup, *[1.0] * 10]
    assert rates("linear") == pytest.approx([*warmup, *(i / 8 for i in range(8, 0, -1)), 0, 0])
    assert rates("inverse-sqrt") == pytest.approx([*warmup, *((4 / step) ** 0.5 for step in range(5, 15))])
    assert rates("linear", 0) == pytest.approx([*(i / 12 for i in range(12, 0, -1)), 0, 0])
    assert rates("inverse-sqrt", 0)[:4] == pytest.approx([1, 2**-0.5, 3**-0.5, 0.5])


def test_step_has_the_rate_of_the_schedule():
    trainer = make_trainer("topic")
    rates = [trainer.run_step().learning_rate for _ in range(6)]
    assert rates == [trainer.settings.schedule.rate(step) for step in range(6)]


def test_objectives_are_interleaved_by_weight():
    trainer = make_trainer("masked", "topic", "tags")
    weights = {"masked": 5.0, "topic": 2.0, "tags": 1.0}
    objectives = {name: replace(trained, weight=weights[name]) for name, trained in trainer.objectives.items()}
    trainer = Trainer(trainer.model, objectives, trainer.settings)
    names = [trainer.run_step().objective for _ in range(16)]
    for end in range(1, 17):
        for name, weight in weights.items():
            assert abs(names[:end].count(name) - end * weight / 8) <= 1
    assert trainer.num_steps == {"masked": 10, "topic": 4, "tags": 2}


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_loss_that_is_not_finite_is_refused_before_the_update(value):
    trainer = make_trainer("topic")
    trainer.run_step()
    with torch.no_grad():
        trainer.model.heads["topic"].sequence_summary.summary.bias.fill_(value)
    before = weights(trainer)
    message = r"step 1: the loss of topic is nan, not a finite number; lower the learning rate, or train in float32"
    with pytest.raises(FatalError, match=message):
        trainer.run_step()
    assert {name for name in changed(before, weights(trainer)) if not before[name].isnan().any()} == set()
    assert trainer.step == 1


def test_gradient_that_is_not_finite_is_refused_before_the_update():
    trainer = make_trainer("topic")
    trainer.model.heads["topic"].sequence_summary.summary.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = weights(trainer)
    with pytest.raises(
        FatalError, match=r"step 0: the norm of the gradient of topic is (inf|nan), not a finite number"
    ):
        trainer.run_step()
    assert not changed(before, weights(trainer))
    assert all(parameter.grad is None for parameter in trainer.parameters.values())


def test_step_without_targets_changes_nothing():
    trainer = make_trainer("tags")
    examples = make_examples("tags")
    examples.targets[:] = -100
    sampler = type(trainer.objectives["tags"].sampler)(examples, np.zeros(60, np.int64), None, 0)
    objectives = {"tags": TrainedObjective(trainer.objectives["tags"].objective, sampler, dev=examples)}
    trainer = Trainer(trainer.model, objectives, trainer.settings)
    before = weights(trainer)
    result = trainer.run_step()
    assert (result.loss, result.grad_norm) == (0.0, 0.0)
    assert not changed(before, weights(trainer))
    assert trainer.evaluate("tags") == (0.0, 0.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_bfloat16_products_are_close_to_float32(name):
    exact = make_trainer(name)
    rounded = make_trainer(name, settings={"autocast": torch.bfloat16})
    assert losses(rounded, 3) == pytest.approx(losses(exact, 3), rel=0.03)
    assert rounded.evaluate(name).loss == pytest.approx(exact.evaluate(name).loss, rel=0.05)
    assert {parameter.dtype for parameter in rounded.parameters.values()} == {torch.float32}
    with pytest.raises(ValueError, match=r"autocast: got torch.float16, expected torch.bfloat16 or None"):
        TrainerSettings(CONSTANT, 100, 100, autocast=torch.float16)


@pytest.mark.parametrize("name", ["masked", "tags", "answers", "choice", "ranking"])
def test_evaluation_is_the_same_each_time_and_changes_nothing(name):
    trainer, other = make_trainer(name, dropout=0.3), make_trainer(name, dropout=0.3)
    first = trainer.evaluate(name)
    assert trainer.evaluate(name) == first
    assert losses(trainer, 3) == losses(other, 3)
