"""Inspect what a run printed, and what is in its output."""

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from pipelines.output.directory import Output
from pipelines.output.shard_record import ShardRecord
from pipelines.storage import locate


def quiet_console() -> Console:
    """Return a console that keeps what is printed; `printed` returns it."""
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def result_digests(out: Path) -> dict[str, str]:
    """Return the digests of all parts and files of rejected rows, by path."""
    files = [*(out / "data").iterdir(), *(out / "_xlm" / "rejected").glob("*")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def modification_times(out: Path) -> dict[str, int]:
    """Return the modification times of all files but the lock, by path."""
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in out.rglob("*") if file.name != "lock"}


def ledger_records(out: Path) -> list[ShardRecord]:
    return list(Output(locate(str(out))).ledger.load())


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
