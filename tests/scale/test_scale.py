"""A run that resumes an output of 100,000 shards needs little memory for each, and reports the right totals."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.rows import LANG_COUNTS
from tests import forks
from tests.scale.steps import Step, Steps, read, replace_ledger, resume
from tests.scale.synthetic import NUM_LANGS, ROWS_PER_SHARD, Simulation, shard_names, simulate

pytestmark = pytest.mark.long

NUM_SHARDS = 100_000
NUM_LATER = 100  # shards that the run commits

# Half of it does not depend on the number of shards. As Python objects, the records alone would take 1,400 MB.
MAX_GROWN_MB = 280  # 243 to 260 were measured


def run_all_steps(simulation: Simulation) -> tuple[dict[str, Any], Simulation, dict[str, Step]]:
    steps = Steps(lambda step: None)
    report = resume(simulation, steps)
    read(simulation, steps)
    replace_ledger(simulation, steps)
    return report, simulation, steps.results


def run_in_fork(function: Callable[..., Any], *args: Any) -> Any:
    process, receiving = forks.start(function, *args)
    result = receiving.recv()
    forks.join(process)
    return result


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The report of the run, what its totals should be, and its steps."""
    folder = tmp_path_factory.mktemp("scale")
    simulation = run_in_fork(simulate, folder, NUM_SHARDS, NUM_SHARDS - NUM_LATER)
    yield run_in_fork(run_all_steps, simulation)
    shutil.rmtree(folder)


def test_no_step_needs_much_memory_for_a_shard(done):
    _, _, steps = done
    assert len(steps) == 9
    assert {step for step in steps.values() if step.grown_mb > MAX_GROWN_MB} == set()


def test_totals_of_the_report_are_those_of_all_shards(done):
    report, simulation, _ = done
    assert (report["status"], report["totals"]["shards"]) == ("complete", NUM_SHARDS)
    assert report["totals"]["rows_read"] == NUM_SHARDS * ROWS_PER_SHARD
    assert {name: report["totals"][name] for name in simulation.counts} == simulation.counts
    assert report["reasons"] == simulation.reasons
    seconds = np.concatenate(simulation.seconds)
    assert sum(report["stage_seconds"].values()) == pytest.approx(seconds.sum())
    slowest = [shard_names(int(number), 1)[0] for number in np.argsort(-seconds)[:10]]
    assert [shard["shard"] for shard in report["slowest"]] == slowest


def test_languages_of_the_report_are_those_of_all_shards(done):
    report, simulation, _ = done
    assert len(report["langs"]) == NUM_LANGS
    for lang in report["langs"]:
        counts = simulation.langs[int(lang["lang"][1:])].tolist()
        assert [*(lang[name] for name in LANG_COUNTS), *lang["lengths"]] == counts
