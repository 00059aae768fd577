"""Signals as systemd, Slurm, `timeout` and terminals send them: to all processes of a run, not to the driver alone."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs import cli
from pipelines.output.directory import Output
from pipelines.run.cluster.lost_cluster import is_alive
from pipelines.storage import locate
from tests.chaos.driver.fault_points import call_once_at, watch_changes
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import ledger_records, wait_until
from tests.processes import MARKER, find_processes

RESUME = "xlm: interrupted; what is finished is kept, run the same command to resume\n"


class Run:
    """A run of the demo's job with one shard per row group of two rows, in a process group of its own."""

    def __init__(self, demo: Path, folder: Path):
        self.out, self._id = folder / "out", uuid.uuid4().hex
        self.num_parts_at_start = 0
        rows = ds.dataset(demo / "corpus").to_table(filter=ds.field("year") >= 2020)
        (folder / "corpus").mkdir()
        pq.write_table(rows, folder / "corpus" / "many-row-groups.parquet", row_group_size=2)
        self._command = [sys.executable, "-m", "jobs.cli", "run", str(demo / "small.yaml")]
        settings = [f"input.path={folder / 'corpus'}", f"output.path={self.out}", "compute.tokenizers=1"]
        # Under load, the many small shards in front of the write stage take longer than the default grace period.
        settings += ["compute.models=1", "output.rows_per_shard=2", "policy.stop_grace_s=200"]
        for setting in settings:
            self._command += ["--set", setting]

    def start(self, *prefix: str) -> None:
        self.num_parts_at_start = self.num_parts()
        self.process = subprocess.Popen(
            [*prefix, *self._command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {MARKER: self._id},
            start_new_session=True,
        )

    def processes(self) -> list[int]:
        """Find all living processes of the run, also those whose parent has ended."""
        return find_processes(self._id)

    def num_parts(self) -> int:
        return len(list(self.out.glob("data/part-*")))

    def end(self) -> tuple[int, str]:
        """Wait for the end of the driver, and return its exit status and stderr."""
        self.printed, errors = self.process.communicate(timeout=240)
        return self.process.returncode, errors

    def check_ended_in_order(self) -> None:
        """Check that the run was interrupted, recorded every part that it wrote, and left no process or folder."""
        assert self.end() == (130, RESUME)
        assert not any(is_alive(pid) for pid in self.processes() if is_named_by_ray(pid))
        wait_until(lambda: not any(map(is_alive, self.processes())))
        assert list(Path("/tmp").glob(f"xlm-ray-{self.process.pid}-*")) == []
        assert not (self.out / "_SUCCESS").exists()
        parts = set(Output(locate(str(self.out))).list_parts()["shard"].to_pylist())
        assert parts == {record.shard for record in ledger_records(self.out)}


def is_named_by_ray(pid: int) -> bool:
    """Return whether a process is a worker or an agent of Ray; the raylet and the head have names of their own."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("ray::")
    except OSError:
        return False


@pytest.fixture
def run(demo: Path, tmp_path: Path) -> Iterator[Run]:
    run = Run(demo, tmp_path)
    yield run
    for pid in run.processes():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def _default_sigint() -> Iterator[None]:
    """Let child processes handle SIGINT, even if the tests run in a shell's background and ignore it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def terminate_driver(run: Run) -> None:
    run.process.terminate()


def terminate_group(run: Run) -> None:
    os.killpg(run.process.pid, signal.SIGTERM)


def terminate_all(run: Run) -> None:
    """Send SIGTERM to all processes, the driver last, as for a cgroup."""
    for pid in sorted(run.processes(), key=lambda pid: pid == run.process.pid):
        os.kill(pid, signal.SIGTERM)


def interrupt_group(run: Run) -> None:
    os.killpg(run.process.pid, signal.SIGINT)


def is_starting(run: Run) -> bool:
    return bool(list(Path("/tmp").glob(f"xlm-ray-{run.process.pid}-*/session_*/logs/raylet.out")))


def has_parts(run: Run) -> bool:
    """A part is waited for, and not its record, because records are written in batches."""
    return run.num_parts() > run.num_parts_at_start


def test_signal_to_all_processes_of_a_run_ends_it_in_order(run):
    """The shards in flight finish, and the next run resumes."""
    num_recorded = 0
    for send, reason in ((terminate_all, "terminated"), (interrupt_group, "interrupted")):
        run.start()
        wait_until(lambda: has_parts(run))
        send(run)
        run.check_ended_in_order()
        assert f"{reason}; finishing the shards in flight, for at most 200 s" in run.printed
        assert len(ledger_records(run.out)) > num_recorded
        num_recorded = len(ledger_records(run.out))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [is_starting, has_parts])
@pytest.mark.parametrize("send", [terminate_driver, terminate_group, terminate_all, interrupt_group])
def test_signal_at_any_moment_ends_a_run_in_order(run, send: Callable[[Run], None], moment):
    run.start()
    wait_until(lambda: moment(run))
    send(run)
    run.check_ended_in_order()


@pytest.mark.slow
def test_timeout_ends_a_run_in_order(run):
    """`timeout` sends SIGTERM to its child, and then to the process group of both."""
    run.start("timeout", "--signal=TERM", "30")
    assert run.end() == (124, RESUME)
    wait_until(lambda: not any(map(is_alive, run.processes())))
    parts = set(Output(locate(str(run.out))).list_parts()["shard"].to_pylist())
    assert parts == {record.shard for record in ledger_records(run.out)}


@pytest.mark.slow
def test_no_process_is_left_after_sigkill(run):
    run.start()
    wait_until(lambda: has_parts(run))
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not any(map(is_alive, run.processes())))


@pytest.mark.parametrize("moment", ["ledger: rename, before", "report.json: write, half", "_SUCCESS: rename, after"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_at_the_end_of_a_run_does_not_interrupt_it(demo, tmp_path, monkeypatch, capsys, moment, number):
    """When the last shards are recorded, nothing is left to interrupt."""
    without_ray(monkeypatch)
    handler = signal.getsignal(signal.SIGTERM)
    out = tmp_path / "out"
    with watch_changes(out, call_once_at(moment, lambda: signal.raise_signal(number))):
        status = cli.main(["run", str(demo / "small.yaml"), "--set", f"output.path={out}"])
    signal.signal(signal.SIGTERM, handler)
    assert (status, capsys.readouterr().err, (out / "_SUCCESS").exists()) == (0, "", True)
