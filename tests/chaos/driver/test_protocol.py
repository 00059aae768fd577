"""A driver that dies, or whose disk fails, at every step by which it changes its output.

Whatever the moment: what is visible then is whole, no row stands twice, nothing is called complete that is not; and the
next run makes the output that it would have been.
"""

import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.storage import locate
from tests.chaos.driver.driver_faults import Fault, go, killed_at, write_fails
from tests.chaos.driver.fault_points import nothing_between, once_at
from tests.chaos.driver.protocols import (
    Ending,
    Protocol,
    contents,
    drive,
    drive_losing_rows,
    drive_on_a_full_disk,
    drive_while_rewriting,
    in_fork,
    into,
    kept,
    lay_out,
    make_protocols,
    rows,
    undisturbed,
    write_file,
)

# The steps of a file that is put whole, and what a run puts.
PUT = ("create", "write", "fsync", "rename")
FILES = ("part", "rejected", "ledger", "job.json", "plan.parquet", "report.json", "report.html", "_SUCCESS")


@pytest.fixture(scope="session")
def protocols(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Protocol]:
    made = make_protocols(tmp_path_factory.mktemp("protocols"), demo / "checkpoint")
    return {protocol.name: protocol for protocol in made}


def play_all(rounds: list[tuple[Protocol, str, list[Fault]]], folder: Path) -> None:
    """Play rounds beside each other; each fault must have an effect, and each round must go well."""

    def play(number: int) -> str:
        protocol, what, faults = rounds[number]
        played = go(protocol, folder / f"out-{number}", *faults)
        found = played.problems + [f"{played.rows_lost} rows lost, {played.rows_doubled} doubled"] * (
            played.rows_lost + played.rows_doubled > 0
        )
        found += ["the fault went unnoticed"] * (not played.faults)
        found += [f"more than one line: {error!r}" for error in played.errors if "\n" in error]
        return "".join(f"\n{protocol.name}, {what}: {problem}" for problem in found)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = "".join(pool.map(play, range(len(rounds))))
    assert not problems


def test_every_step_has_a_name(protocols):
    """Also those that the product may come to take: nothing changes but where a moment is named."""
    for protocol in protocols.values():
        out = protocol.start.with_name("watched")
        lay_out(protocol.start, out)
        ending = in_fork(drive, into(protocol.job, out), partial(nothing_between, out), protocol.retried)
        assert ending.points == protocol.ending.points  # and the moment with a number is the same one each time
        shutil.rmtree(out)
    steps = {point.rpartition(",")[0] for protocol in protocols.values() for point in protocol.ending.points}
    assert steps >= {f"{file}: {step}" for file in FILES for step in PUT}
    assert steps >= {f"{file}: delete" for file in ("part", "rejected", "ledger", "_SUCCESS")}
    assert steps >= {f"{folder} folder: make" for folder in ("output", "inner", "rejected", "ledger")}


def test_what_the_protocols_come_to(protocols):
    """Rounds are compared with these ends; so what is right about them is said here once."""
    once = {"first_run": "a1 a2 a3 b1", "files_came_and_went": "n1 b1 a1 a4 a2"}
    rejected = {"first_run": "a2 b2", "files_came_and_went": "n2 b1 b2"}
    for name, ids in once.items():
        end = protocols[name].end
        assert rows(end, rejected=False) == Counter(ids.split())
        assert rows(end) == Counter([*ids.split(), *rejected[name].split()])
    for name, protocol in protocols.items():
        assert protocol.ending.outcome == ("complete", 2 if name == "a_shard_fails" else 0)
        assert (protocol.end / "_SUCCESS").exists() == (name != "a_shard_fails")
    for name in ("parts_gone", "half_done", "rejected_again", "nothing_to_do"):  # their rows are those of a first run
        assert rows(protocols[name].end) == rows(protocols["first_run"].end)
    assert protocols["nothing_to_do"].ending.points == ["the run: end"]


def test_killed_at_each_moment_by_name(protocols, tmp_path):
    """Once for each name that a moment has, in any of the protocols; the full series kills at every moment."""
    places: dict[str, list[tuple[Protocol, int]]] = {}
    for protocol in protocols.values():
        for number, point in enumerate(protocol.ending.points):
            places.setdefault(point, []).append((protocol, number))
    rounds = []
    for point, found in places.items():
        protocol, number = random.choice(found)
        rounds.append((protocol, f"killed at {number} ({point})", [killed_at(number)]))
    play_all(rounds, tmp_path)


def test_killed_while_a_run_goes_on_that_was_killed(protocols, tmp_path):
    rounds = []
    for protocol in protocols.values():
        first, second, third = (random.randrange(len(protocol.ending.points)) for _ in range(3))
        faults = [killed_at(first), killed_at(second), killed_at(third)]
        rounds.append((protocol, f"killed at {first}, {second} and {third}", faults))
    play_all(rounds, tmp_path)


@pytest.mark.parametrize("again", [False, True])
def test_an_error_in_the_middle_of_a_write(protocols, tmp_path, again):
    """Of every write of a run: nothing is published, the run says so in one line, and the next completes it."""
    protocol = protocols["files_came_and_went"]
    writes = [point for point in protocol.ending.points if point.endswith("half")]
    rounds = [
        (protocol, f"write {number} ({point}) fails", [write_fails(number, again=again)])
        for number, point in enumerate(writes)
        if not again or number % 4 == 0
    ]
    play_all(rounds, tmp_path)


@pytest.mark.parametrize("most_bytes", [0, 300, 2000, 4000])
def test_a_limit_on_the_size_of_files(protocols, tmp_path, most_bytes):
    """The kernel's own EFBIG: a file that is cut off is not published."""
    played = go(protocols["first_run"], tmp_path / "out", lambda job, _: in_fork(drive_on_a_full_disk, job, most_bytes))
    assert not played.problems
    assert played.faults == 1
    [error] = played.errors
    assert "\n" not in error
    assert str(tmp_path / "out") in error
    assert "no space is left" in error or "not usable as output" in error


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Path]:
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size_kb}k", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("free_kb", [4, 24, 40, 60])
def test_a_full_disk(protocols, tmp_path, free_kb):
    """A real one: what does not fit is one line that says what to do, and the run goes on once there is space."""
    with small_disk(tmp_path / "disk", 1024) as disk:

        def fill(job: object, _: object) -> Ending | None:
            filler = disk / "filler"
            filler.write_bytes(bytes((1024 - free_kb) * 1024))
            ending = in_fork(drive, job, undisturbed)
            filler.unlink()
            return ending

        played = go(protocols["first_run"], disk / "out", fill)
    assert not played.problems
    assert played.faults == 1
    [error] = played.errors
    assert "\n" not in error
    assert f"{disk}/out" in error


def test_a_late_twin_writes_its_part_again(protocols, tmp_path):
    """A writer that was thought dead, when its replacement's part has a record, and when the run has ended."""
    protocol, out = protocols["first_run"], tmp_path / "out"
    part = next(protocol.end.glob("part-*")).name
    twin = partial(shutil.copy, protocol.end / part, out / part)
    ending = in_fork(drive, into(protocol.job, out), partial(once_at, "report.json: create, before", twin))
    assert ending.outcome == protocol.ending.outcome
    assert contents(out) == kept(protocol.end)
    twin()
    assert in_fork(drive, into(protocol.job, out), undisturbed).outcome == protocol.ending.outcome
    assert contents(out) == kept(protocol.end)


@pytest.mark.parametrize("moment", ["plan.parquet: rename, after", "ledger: rename, after", "part: create, before"])
def test_a_late_writer_of_a_file_that_went(protocols, tmp_path, moment):
    """Its part comes after the run has removed what has no place, and may not stay."""
    protocol, out = protocols["files_came_and_went"], tmp_path / "out"
    lay_out(protocol.start, out)
    gone = sorted(kept(protocol.start).keys() - kept(protocol.end).keys())
    assert any(name.startswith("part-") for name in gone)

    ending = in_fork(
        drive, into(protocol.job, out), partial(once_at, moment, partial(_copy_all, protocol.start, out, gone))
    )
    assert ending.outcome == protocol.ending.outcome
    assert (out / "_SUCCESS").exists()
    assert contents(out) == kept(protocol.end)


def test_two_drivers(protocols, tmp_path):
    """The second one is refused, whatever the first one is about to do."""
    protocol, out = protocols["first_run"], tmp_path / "out"
    job = into(protocol.job, out)
    with Output(locate(str(out))).lock():
        assert "another run is writing here" in str(in_fork(drive, job, undisturbed).error)
    assert not list(out.glob("part-*"))
    assert in_fork(drive, job, undisturbed).outcome == protocol.ending.outcome


def test_rows_that_a_stage_loses(protocols, tmp_path):
    """They fail their shard, whether on the way or at its end; nothing of it is written."""
    protocol, out = protocols["first_run"], tmp_path / "out"
    for place, said in (
        ("pipelines.stages.infer.Infer.step", "infer: 2 rows went in, 1 came out and 0 were rejected"),
        ("pipelines.stages.write.Writer.write", "2 rows in, 1 out, 0 rejected"),
    ):
        ending = in_fork(drive_losing_rows, into(protocol.job, out), place)
        assert ending.outcome == ("failed shards", 3)
        assert any(said in failure["error"] for failure in ending.report["failed"])
        assert not rows(out, rejected=False)


def _copy_all(source: Path, target: Path, names: list[str]) -> None:
    for name in names:
        shutil.copy(source / name, target / name)


def test_a_file_of_the_same_size_is_another(protocols, tmp_path):
    """When it was written later: its old rows go, its new ones come."""
    job, corpus = with_own_corpus(protocols["first_run"], tmp_path)
    in_fork(drive, job, undisturbed)
    write_file(corpus / "a.parquet", ["x1", "x2", "x3"])
    in_fork(drive, job, undisturbed)
    assert rows(tmp_path / "out") == Counter(["x1", "x2", "x3", "b1", "a2", "b2"])


def with_own_corpus(protocol: Protocol, folder: Path) -> tuple[Job, Path]:
    shutil.copytree(str(protocol.job.input.path), corpus := folder / "corpus")
    job = into(protocol.job, folder / "out")
    return job.model_copy(update={"input": job.input.model_copy(update={"path": str(corpus)})}), corpus


def rewritten_between(job: object, file: Path, ids: list[str]) -> Ending:
    return in_fork(drive, job, partial(once_at, "plan.parquet: rename, after", partial(write_file, file, ids)))


def rewritten_during(job: object, file: Path, ids: list[str]) -> Ending:
    return in_fork(drive_while_rewriting, job, file, ids)


@pytest.mark.parametrize("rewrite", [rewritten_between, rewritten_during])
def test_an_input_file_that_is_rewritten(protocols, tmp_path, rewrite: Callable[..., Ending]):
    """Between plan and read, or while it is read, with the same size: none of its rows is written in that run."""
    job, corpus = with_own_corpus(protocols["first_run"], tmp_path)
    before, ids = (corpus / "a.parquet").stat(), ["x1", "x2", "x3"]
    ending = rewrite(job, corpus / "a.parquet", ids)
    after = (corpus / "a.parquet").stat()
    assert after.st_size == before.st_size
    assert after.st_mtime_ns != before.st_mtime_ns
    failures = ending.report["failed"]
    assert len(failures) == 2
    assert all("changed after the plan was made" in failure["error"] for failure in failures)
    assert set(rows(tmp_path / "out")) == {"b1", "b2", "a2"}
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    ending = in_fork(drive, job, undisturbed)
    assert ending.outcome == ("complete", 0)
    assert set(rows(tmp_path / "out")) == {"b1", "b2", "a2", *ids}
    in_fork(drive, into(job, tmp_path / "anew"), undisturbed)
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")
