"""Two workers compute what one computes."""

import json
import socket
import subprocess
import sys

import pytest

from tests.xlm_core.training.small_training import OBJECTIVES, make_trainer
from xlm_core.training import encode_state

NUM_STEPS = 6
ALONE = [("causal",), ("ranking",)]  # a causal trunk; batches that workers share only if a step has several
CASES = [tuple(name for name in OBJECTIVES if (name,) not in ALONE), *ALONE]
WORKER = """
import json, sys
import torch.distributed as dist
from tests.xlm_core.training.test_workers import CASES, run
dist.init_process_group("gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
print(json.dumps([run(names) for names in CASES]))
"""


def run(names):
    """Run some steps, evaluate, and return all figures."""
    trainer = make_trainer(*names, settings={"epsilon": 1e-3})  # gradients that are 0 but for rounding stay small
    steps = [trainer.run_step() for _ in range(2 * len(names) if len(names) > 1 else NUM_STEPS)]
    evaluations = {name: trainer.evaluate(name) for name in names}
    state = encode_state(trainer)
    totals = {name: float(parameter.detach().abs().sum()) for name, parameter in trainer.parameters.items()}
    return {"steps": steps, "evaluations": evaluations, "totals": totals, "size": len(state)}


@pytest.fixture(scope="module")
def of_two_workers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, address, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    texts = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return [json.loads(text.splitlines()[-1]) for text in texts]


@pytest.mark.long
@pytest.mark.parametrize("case", range(len(CASES)), ids=["all objectives", "causal", "ranking"])
def test_two_workers_equal_one(of_two_workers, case):
    """The same losses, weights and evaluations; heads that a step did not run stay as they are in both."""
    first, second = (results[case] for results in of_two_workers)
    assert first == second
    expected = json.loads(json.dumps(run(CASES[case])))
    for got, step in zip(first["steps"], expected["steps"], strict=True):
        assert got[:2] == step[:2]
        assert got[2:] == pytest.approx(step[2:], abs=1e-4)
    for name, evaluation in expected["evaluations"].items():
        assert first["evaluations"][name] == pytest.approx(evaluation, abs=1e-3)
    # Biases that a softmax cancels out have gradients of rounding errors only, and stay near 0.
    assert first["totals"] == pytest.approx(expected["totals"], rel=1e-3, abs=1e-6)
    assert first["size"] == expected["size"]
