"""A training that is resumed from its state computes the same losses, bit for bit."""

import pytest

from tests.xlm_core.training.small_training import losses, make_trainer
from xlm_core.training import encode_state, read_values, restore_state

NUM_STEPS = 9


def trainer(average=0.9):
    return make_trainer("masked", "translation", "topic", dropout=0.1, settings={"average_decay": average})


@pytest.mark.parametrize("at", [0, 1, 4, 8])
def test_losses_after_resuming_are_the_same(at):
    whole = trainer()
    expected = [whole.run_step() for _ in range(NUM_STEPS)]
    stopped = trainer()
    losses(stopped, at)
    stopped.evaluate("topic")
    data = encode_state(stopped, best=0.5)
    resumed = trainer()
    losses(resumed, 2)  # everything that these steps changed is replaced
    assert restore_state(resumed, data) == {"best": 0.5}
    assert [resumed.run_step() for _ in range(NUM_STEPS - at)] == expected[at:]
    assert resumed.evaluate("topic") == whole.evaluate("topic")
    assert encode_state(resumed) == encode_state(whole)


def test_state_of_a_frozen_trunk_has_only_the_head():
    frozen = make_trainer("tags", freeze_trunk=True)
    losses(frozen, 2)
    data = encode_state(frozen)
    assert len(data) < 5_000
    resumed = make_trainer("tags", freeze_trunk=True)
    restore_state(resumed, data)
    assert losses(resumed, 3) == losses(frozen, 3)


def test_values_are_read_without_tensors():
    stopped = trainer(None)
    losses(stopped, 3)
    values = read_values(encode_state(stopped, path="x", scores=[1.5, None]))
    assert values["step"] == 3
    assert values["num_steps"] == {"masked": 1, "translation": 1, "topic": 1}
    assert values["more"] == {"path": "x", "scores": [1.5, None]}
    assert {name: sum(drawn) > 0 for name, drawn in values["drawn"].items()} == dict.fromkeys(values["drawn"], True)
