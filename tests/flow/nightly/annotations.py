"""A folder in which a scheduler runs `jobs/specs/nightly.yaml` every night, over a corpus that grows."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import cli
from tests import forks
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import ledger_records, wait_until
from tests.processes import MARKER, find_processes

Files = dict[str, tuple[int, bytes]]

# One row per shard: a hundred rows take longer than the two seconds until the first parts are recorded.
SETTINGS = ["output.rows_per_shard=1", "compute.tokenizers=1", "compute.models=1"]


class Night(NamedTuple):
    """What a scheduler sees of a run, and the files of the output after it.

    Attributes:
        status: the exit status; negative for a signal.
        out: what was written to stdout.
        err: what was written to stderr.
        files: modification time and content of every file of the output but the lock.
        recorded: the parts in the ledger.
    """

    status: int
    out: str
    err: str
    files: Files
    recorded: set[str]

    @property
    def parts(self) -> Files:
        return {path: file for path, file in self.files.items() if path.startswith("data/")}

    @property
    def results(self) -> dict[str, bytes]:
        """Parts and files of rejected rows."""
        return {path: file[1] for path, file in self.files.items() if path.startswith(("data/", "_xlm/rejected/"))}


class Annotations:
    """The folder of a scheduled job: `nightly.yaml`, and `demo-out/` with the corpus, the model and the output."""

    def __init__(self, demo: Path, folder: Path):
        self.folder, self.corpus, self.out = folder, folder / "demo-out" / "corpus", folder / "demo-out" / "nightly"
        shutil.copytree(demo / "checkpoint", folder / "demo-out" / "checkpoint")
        shutil.copytree(demo / "heads", folder / "demo-out" / "heads")
        shutil.copy("jobs/specs/nightly.yaml", folder)
        self.corpus.mkdir()
        self._id, self._root = uuid.uuid4().hex, Path.cwd()

    def add(self, name: str, rows: list[dict[str, Any]]) -> None:
        pq.write_table(pa.Table.from_pylist(rows), self.corpus / name)

    def start(self, *settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *_arguments(*settings)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {MARKER: self._id, "PYTHONPATH": str(self._root)},
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Night:
        out, err = process.communicate(timeout=240)
        return Night(process.returncode, out, err, _files(self.out), self.recorded())

    def run(self, *settings: str) -> Night:
        return self.end(self.start(*settings))

    def run_without_ray(self, *settings: str, out: Path | None = None) -> Night:
        """Run the command line in a process that computes all shards itself, into another output if one is given."""
        out = out or self.out
        prints = self.folder / "out.txt", self.folder / "err.txt"
        process, receiving = forks.start(_run_here, self.folder, _arguments(*settings, f"output.path={out}"), *prints)
        status = receiving.recv()
        forks.join(process)
        return Night(status, *(path.read_text(encoding="utf-8") for path in prints), _files(out), _recorded(out))

    def run_twice_at_once(self) -> tuple[Night, Night, Files]:
        """Start a run while another one has the lock, and then kill that one.

        The first run is suspended as soon as it has the lock, until the second one has ended. It is killed as the
        kernel does when memory runs out, with SIGKILL, once it has recorded some of its parts.

        Returns:
            The run that was killed, the second run, and the output's files before the second run.
        """
        first = self.start()
        wait_until(lambda: self.is_locked() or first.poll() is not None)
        first.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.pid, os.WSTOPPED)
        before = _files(self.out)
        second = self.run()
        first.send_signal(signal.SIGCONT)
        wait_until(lambda: self.recorded() or first.poll() is not None)
        first.kill()
        killed = self.end(first)
        wait_until(lambda: not find_processes(self._id))
        return killed._replace(files=_files(self.out)), second, before

    def is_locked(self) -> bool:
        lock = self.out / "_xlm" / "lock"
        return lock.exists() and lock.stat().st_size > 0

    def recorded(self) -> set[str]:
        return _recorded(self.out)

    def clean_up(self) -> None:
        for pid in find_processes(self._id):
            os.kill(pid, signal.SIGKILL)


def _arguments(*settings: str) -> list[str]:
    return ["run", "nightly.yaml", *(f"--set={setting}" for setting in (*SETTINGS, *settings))]


def _run_here(folder: Path, arguments: list[str], out: Path, err: Path) -> int:
    os.chdir(folder)
    with out.open("w") as stdout, err.open("w") as stderr, redirect_stdout(stdout), redirect_stderr(stderr):
        without_ray(pytest.MonkeyPatch())
        return cli.main(arguments)


def _recorded(out: Path) -> set[str]:
    return {f"data/{record.part}" for record in ledger_records(out)}


def _files(out: Path) -> Files:
    return {
        str(file.relative_to(out)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(out.rglob("*"))
        if file.is_file() and file.name != "lock"
    }
