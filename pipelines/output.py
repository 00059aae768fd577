"""The output directory: who may write to it, what it says of its job, and when it is complete."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.ledger import Ledger
from pipelines.plan import PLAN

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pipelines.storage import Location

# A lock on an object store is a file that its holder renews; one that was not renewed for this long is a dead one's.
_LOCK_EXPIRES_S = 120


class Output:
    """`OUT`: parts beside each other, and below `_xlm` all that is not data."""

    def __init__(self, location: Location):
        self.location = location
        self.inner = location / "_xlm"
        self.ledger = Ledger(self.inner / "ledger")

    def saved_job(self) -> dict[str, Any] | None:
        """Read what `job.json` says of the job that began this output; None for a new one.

        Raises:
            FatalError: the directory holds something else.
        """
        try:
            return json.loads((self.inner / "job.json").read_bytes())
        except FileNotFoundError:
            strangers = [file.url for file in self.location.list() if not file.url.rpartition("/")[2].startswith(".")]
            if strangers:
                raise FatalError(
                    f"{self.location.url}: holds files that no job here wrote, such as {strangers[0]}; set output.path "
                    "to an empty or new directory"
                ) from None
            return None
        except ValueError:
            raise FatalError(f"{self.inner.url}/job.json: damaged; restore it, or set output.path anew") from None

    def check_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to go on where results would differ from those already there.

        Raises:
            FatalError: names every setting that differs.
        """
        saved = self.saved_job()
        if saved is None:
            return
        differences = list(_differences(saved.get("fingerprint", {}), fingerprint))
        if differences:
            raise FatalError(
                f"{self.location.url}: holds results of another job ({'; '.join(differences)}); "
                "set output.path anew, or restore the settings"
            )

    def begin(self, description: dict[str, Any], shards: pa.Table) -> None:
        """Write what the job is and which shards it has; the output is not complete until `finish`."""
        (self.location / "_SUCCESS").delete()
        self._put_json("job.json", description)
        sink = pa.BufferOutputStream()
        pq.write_table(shards, sink, compression="zstd")
        (self.inner / "plan.parquet").put(sink.getvalue())

    def saved_plan(self) -> pa.Table | None:
        """Read the plan of the last run, as `PLAN`; None before the first."""
        try:
            return pq.read_table(pa.BufferReader((self.inner / "plan.parquet").read_bytes()), schema=PLAN)
        except FileNotFoundError:
            return None

    def parts(self) -> set[str]:
        """List the names of the parts that are there."""
        names = {file.url.rpartition("/")[2] for file in self.location.list()}
        return {name for name in names if name.startswith("part-") and name.endswith(".parquet")}

    def remove_part(self, name: str) -> None:
        """Remove a part, then its rejected rows."""
        (self.location / name).delete()
        (self.inner / "rejected" / name).delete()

    def clean(self) -> None:
        """Remove temporary files of writers that were killed. Only the holder of the lock may call this."""
        for folder in (self.location, self.inner, self.inner / "rejected", self.inner / "ledger"):
            folder.delete_leftovers()

    @property
    def is_complete(self) -> bool:
        """Whether the last run finished and said so."""
        return (self.location / "_SUCCESS").is_file()

    def finish(self, report: dict[str, Any], page: str, *, success: bool) -> None:
        """Write the report and, as the last act of a run that did all it should, `_SUCCESS`."""
        self._put_json("report.json", report)
        (self.inner / "report.html").put(page.encode())
        if success:
            (self.location / "_SUCCESS").put(b"")

    @contextmanager
    def lock(self) -> Generator[None]:
        """Be the only run on this output for the length of a `with` block.

        On a local file system the lock is the kernel's and ends with its holder, however that dies. Elsewhere it is a
        file that says when it was last renewed.

        Raises:
            FatalError: another run is alive.
        """
        if self.location.is_local:
            path = Path((self.inner / "lock").path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.seek(0)
                    raise self._taken(file.read() or "another process") from None
                file.truncate(0)
                file.write(_me())
                file.flush()
                yield
            return
        location = self.inner / "lock.json"
        try:
            held = json.loads(location.read_bytes())
            if time.time() - held["renewed"] < _LOCK_EXPIRES_S:
                raise self._taken(held["by"])
        except (FileNotFoundError, ValueError, KeyError):
            pass
        self.renew_lock()
        try:
            yield
        finally:
            location.delete()

    def renew_lock(self) -> None:
        """Say that the holder of the lock is alive; local locks need no saying."""
        if not self.location.is_local:
            self._put_json("lock.json", {"by": _me(), "renewed": time.time()})

    def _taken(self, by: str) -> FatalError:
        return FatalError(f"{self.location.url}: another run is writing here ({by.strip()}); wait for it, or stop it")

    def _put_json(self, name: str, value: dict[str, Any]) -> None:
        (self.inner / name).put((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Name the leaves in which two trees of settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path}: {json.dumps(old, ensure_ascii=False)} there, {json.dumps(new, ensure_ascii=False)} now"
