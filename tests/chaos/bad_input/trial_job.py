"""A valid job that a trial damages and then runs."""

import contextlib
import io
import os
import shutil
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from jobs.cli import main
from pipelines.job import Job
from tests.flow.in_process import read_output, run_to_records

GOOD_ROWS = pa.table({"id": ["a", "b"], "text": ["Good morning.", "Guten Morgen."], "lang": ["en", "de"]})

# For input that makes the job hang, such as a FIFO or a link to itself. A busy machine needs some of this time.
TIMEOUT_S = 120


class HangError(BaseException):
    """The job hangs. Not an `Exception`, which the stages would record as a shard's failure."""


@contextlib.contextmanager
def hang_limit() -> Generator[None]:
    """Raise `HangError` after `TIMEOUT_S`, even if the main thread waits in a system call."""

    def stop(*_: object) -> None:
        raise HangError(f"not finished after {TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class TrialJob:
    """A valid job in its own folder: a corpus of one file, the demo's checkpoint, and an output that does not exist.

    Attributes:
        folder: contains the job file, the corpus and the output.
        demo: the demo's folder.
        settings: the job's settings, which `run` writes to `job_file`.
        job_file_bytes: what `run` writes to `job_file` instead of the settings.
    """

    def __init__(self, folder: Path, demo: Path):
        self.folder, self.demo = folder, demo
        self.job_file, self.corpus, self.out = folder / "job.yaml", folder / "corpus", folder / "out"
        self.settings: dict[str, Any] = {
            "input": {"path": str(self.corpus), "id": "id", "text": "text", "lang": "lang"},
            "model": {"checkpoint": str(demo / "checkpoint")},
            "tasks": ["feature-extraction"],
            "tokenizer": {"max_length": 128, "ja": "fugashi"},
            "batch": {"invariant": True},
            "output": {"path": str(self.out)},
        }
        self.job_file_bytes: bytes | None = None
        self.corpus.mkdir(parents=True)
        self.write(GOOD_ROWS)

    def write(self, table: pa.Table, name: str = "a.parquet", **options: Any) -> Path:
        """Write a file of the corpus."""
        pq.write_table(table, self.corpus / name, **options)
        return self.corpus / name

    def set(self, key: str, value: Any) -> None:
        """Change one setting, given by its dotted name."""
        *groups, name = key.split(".")
        group = self.settings
        for part in groups:
            group = group.setdefault(part, {})
        group[name] = value

    def copy_checkpoint(self) -> Path:
        """Copy the checkpoint into the folder, and make the job use the copy."""
        copy = self.folder / "checkpoint"
        shutil.copytree(self.demo / "checkpoint", copy)
        self.set("model.checkpoint", str(copy))
        return copy

    def to_yaml(self) -> str:
        """Format the settings as a job file."""
        return yaml.safe_dump(self.settings, allow_unicode=True, sort_keys=False)

    def run(self) -> tuple[int, str]:
        """Run the job on the command line, and return the exit status and what it printed. Ray may not start."""
        if not os.path.lexists(self.job_file):
            written = self.to_yaml().encode() if self.job_file_bytes is None else self.job_file_bytes
            self.job_file.write_bytes(written)
        printed = io.StringIO()
        # Not ray.init: this process may be connected to the Ray cluster of other tests.
        no_ray = mock.patch("pipelines.run.execute.ray_session", side_effect=AssertionError("Ray was started"))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed), no_ray, hang_limit():
                status = main(["run", str(self.job_file)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return status, printed.getvalue()

    def compute_results(self) -> pa.Table:
        """Run the stages in this process, and return the rows of the output ordered by id. Removes the output."""
        with hang_limit():
            run_to_records(Job.model_validate(self.settings))
        table = read_output(str(self.out)).sort_by("id")
        shutil.rmtree(self.out)
        return table

    def read_output_files(self) -> dict[str, bytes | None]:
        """Read all files of the output except for the lock; None for links."""
        paths = [path for path in (self.out, *self.out.glob("**/*")) if path.is_symlink() or path.is_file()]
        return {str(p): None if p.is_symlink() else p.read_bytes() for p in paths if p.name != "lock"}


Change = Callable[[TrialJob], None]
