"""Rounds: a run that a fault ends, a look at what it leaves, and a run that has to complete it."""

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jobs.demo.build import write_demo
from pipelines.job.job import Job
from pipelines.output.layout import part_name
from tests.chaos.driver.fault_points import fail_at, kill_at
from tests.chaos.driver.protocols import (
    Ending,
    Protocol,
    contents,
    drive,
    in_fork,
    into,
    kept,
    lay_out,
    make_protocols,
    rows,
    undisturbed,
)
from tests.chaos.fault_counts import FaultCounts

DOUBLE_KILLS = 100  # in a full series; all pairs of moments would be some 200,000


# Takes a job, with reasons to retry, through a run that a fault ends; gives how, or nothing if it was killed.
Fault = Callable[[Job, Sequence[str]], Ending | None]


class Round(NamedTuple):
    """What one round came to.

    Attributes:
        faults: how many had an effect: the run was killed, ended with an error, or had shards fail.
        problems: what was not as it must be, a line each.
        rows_lost: in the end.
        rows_doubled: at any time.
        errors: what the runs that were not killed said.
    """

    faults: int
    problems: list[str]
    rows_lost: int
    rows_doubled: int
    errors: list[str]


def killed_at(number: int) -> Fault:
    """SIGKILL at the moment with this number."""
    return lambda job, retried: in_fork(drive, job, partial(kill_at, number), retried)


def write_fails(number: int, *, again: bool = False) -> Fault:
    """An error of the disk in the middle of the write with this number; with `again`, of every later one too."""
    return lambda job, retried: in_fork(drive, job, partial(fail_at, number, again=again), retried)


def go(protocol: Protocol, out: Path, *faults: Fault) -> Round:
    """Run a protocol under each fault in turn, then to its end; `out` is laid out anew."""
    lay_out(protocol.start, out)
    job, wanted = into(protocol.job, out), rows(protocol.end)
    problems, errors, injected, doubled = list[str](), list[str](), 0, 0
    for fault in faults:
        ending = fault(job, protocol.retried)
        injected += ending is None or ending.outcome != protocol.ending.outcome
        if ending is not None and ending.error is not None:
            errors.append(ending.error)
        problems += _unclean(protocol, out)
        doubled += sum(number - 1 for number in rows(out, rejected=False).values())
    ending = in_fork(drive, job, undisturbed, protocol.retried)
    if ending.outcome != protocol.ending.outcome:
        problems.append(f"the last run came to {ending.outcome} instead of {protocol.ending.outcome}")
    problems += _differences(contents(out), kept(protocol.end))
    found = rows(out)
    return Round(injected, problems, (wanted - found).total(), doubled + (found - wanted).total(), errors)


def _unclean(protocol: Protocol, out: Path) -> Iterator[str]:
    """Look at what a fault left: whatever is visible must be whole, and nothing said to be done that is not."""
    start, end, found = kept(protocol.start), kept(protocol.end), contents(out)
    results = {name for name in found if "part-" in name and not Path(name).name.startswith(".")}
    for name in results:
        if found[name] not in (start.get(name), end.get(name)):
            yield f"{name} is neither what was there nor what is to be there"
    for path in out.glob("[!._]*"):
        if path.name not in results:
            yield f"{path.name} has no place there"
    ledgers: list[Any] = [start["ledger"], end["ledger"], found["ledger"]]
    for shard in ledgers[2].keys() - ledgers[0].keys():
        if found.get(part_name(shard)) != end.get(part_name(shard)):
            yield f"shard {shard} has a record, but not its part"
    if "_SUCCESS" in found and not any(
        whole.get("_SUCCESS") and not _differences(_results(found), _results(whole)) for whole in (start, end)
    ):
        yield "_SUCCESS stands over an output that is not complete"


def _results(found: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if "/part-" in f"/{name}" or name == "ledger"}


def _differences(found: dict[str, object], wanted: dict[str, object]) -> list[str]:
    """Name the files that are missing, are too many, or differ."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return [f"{name} is {'missing' if name not in found else 'not as without faults'}" for name in names]


def run_series(rng: random.Random) -> Iterator[FaultCounts]:
    """Kill runs at every moment of every protocol, and at pairs of moments; let each of their writes fail.

    What is wrong is said on stderr.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        checkpoint = write_demo(Path(folder) / "demo").parent / "checkpoint"
        protocols = make_protocols(Path(folder) / "protocols", checkpoint)
        plans = [plan for protocol in protocols for plan in _every_fault(protocol)]
        plans += [_two_kills(rng, rng.choice(protocols)) for _ in range(DOUBLE_KILLS)]

        def play(number: int) -> FaultCounts:
            protocol, what, faults = plans[number]
            played = go(protocol, out := Path(folder) / f"out-{number}", *faults)
            shutil.rmtree(out)
            if not played.faults:
                played.problems.append("the fault went unnoticed")
            for problem in played.problems:
                print(f"{protocol.name}, {what}: {problem}", file=sys.stderr)
            return FaultCounts(played.faults, 0, 1, not played.problems, played.rows_lost, played.rows_doubled)

        yield FaultCounts(num_points=sum(len(protocol.ending.points) for protocol in protocols))
        yield from pool.map(play, range(len(plans)))


def _every_fault(protocol: Protocol) -> Iterator[tuple[Protocol, str, list[Fault]]]:
    writes = 0
    for number, point in enumerate(protocol.ending.points):
        yield protocol, f"killed at {number} ({point})", [killed_at(number)]
        if point.endswith("half"):
            yield protocol, f"write {writes} ({point}) fails", [write_fails(writes)]
            yield protocol, f"every write from {writes} ({point}) fails", [write_fails(writes, again=True)]
            writes += 1


def _two_kills(rng: random.Random, protocol: Protocol) -> tuple[Protocol, str, list[Fault]]:
    first, second = (rng.randrange(len(protocol.ending.points)) for _ in range(2))
    return protocol, f"killed at {first}, then at {second}", [killed_at(first), killed_at(second)]


def main() -> None:
    """Print the steps that runs take, by name, and what a full series of faults came to."""
    with tempfile.TemporaryDirectory() as folder:
        protocols = make_protocols(Path(folder) / "protocols", write_demo(Path(folder) / "demo").parent / "checkpoint")
    moments = Counter(point for protocol in protocols for point in protocol.ending.points)
    for point, number in sorted(moments.items()):
        print(f"{number:5} × {point}")
    seed = random.randrange(2**32)
    print(f"seed {seed}: {sum(run_series(random.Random(seed)), FaultCounts())}")


if __name__ == "__main__":
    main()
