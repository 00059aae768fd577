"""The output directory: who may write to it, what it says of its job, and when it is complete."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.ledger import Ledger
from pipelines.shard import REPEATED
from pipelines.storage import parquet_bytes, reason

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pipelines.storage import Location

# A lock on an object store is a file that its holder renews; one that was not renewed for this long is a dead one's.
# Two that take it within the time it settles in see whose it is.
_LOCK_EXPIRES_S, _LOCK_SETTLES_S = 120.0, 2.0

# The names that `part_name` gives; another file of a similar name is none of ours.
_PART = re.compile(r"part-[0-9a-f]{16}-\d+-\d+\.parquet")


class Output:
    """`OUT`: parts beside each other, and below `_xlm` all that is not data."""

    def __init__(self, location: Location):
        self.location = location
        self.inner = location / "_xlm"
        self.rejected = self.inner / "rejected"
        self.ledger = Ledger(self.inner / "ledger")

    def saved_job(self) -> dict[str, Any] | None:
        """Read `job.json`: what the job is that began this output, and what its results depend on; None in a new one.

        Raises:
            FatalError: the directory holds something else.
        """
        try:
            saved = json.loads((self.inner / "job.json").read_bytes())
            if isinstance(saved, dict) and {"spec", "fingerprint"} <= saved.keys():
                return saved
        except FileNotFoundError:
            strangers = [file.url for file in self.location.list() if not file.name.startswith(".")]
            if strangers:
                raise FatalError(
                    f"{self.location.url}: holds files that no job here wrote, such as {strangers[0]}; set output.path "
                    "to an empty or new directory"
                ) from None
            return None
        except OSError as error:
            raise self._unusable(error) from None
        except ValueError:
            pass
        raise FatalError(f"{self.inner.url}/job.json: damaged; restore it, or set output.path anew")

    def check_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to go on where results would differ from those already there.

        Raises:
            FatalError: names every setting that differs.
        """
        saved = self.saved_job()
        differences = list(_differences(saved["fingerprint"], fingerprint)) if saved else []
        if differences:
            raise FatalError(
                f"{self.location.url}: holds results of another job ({'; '.join(differences)}); "
                "set output.path anew, or restore the settings"
            )

    def begin(self, description: dict[str, Any], shards: pa.Table) -> None:
        """Write what the job is and which shards it has; the output is not complete until `finish`."""
        self.mark_incomplete()
        self._put_json("job.json", description)
        (self.inner / "plan.parquet").put(parquet_bytes(shards))

    def num_planned(self) -> int | None:
        """Read how many shards the last run planned; None before the first."""
        try:
            return len((self.inner / "plan.parquet").read_table(["shard"]))
        except (FileNotFoundError, pa.ArrowException):
            return None

    def parts(self) -> dict[str, int]:
        """List the parts that are there, and their sizes in bytes."""
        return _parts(self.location)

    def rejected_parts(self) -> set[str]:
        """List the parts of which there are rejected rows."""
        return set(_parts(self.rejected))

    def repeated_rows(self, name: str) -> set[int]:
        """Read which rows of a part's shard, by their number in the file, were rejected since they repeat an id."""
        rows = (self.rejected / name).read_table(["row", "reason"]).to_pylist()
        return {row["row"] for row in rows if row["reason"] == REPEATED}

    def remove_part(self, name: str) -> None:
        """Remove a part, then its rejected rows."""
        (self.location / name).delete()
        (self.rejected / name).delete()

    def mark_incomplete(self) -> None:
        """Take back that the output is complete, before anything is changed in it."""
        (self.location / "_SUCCESS").delete()

    def remove_leftovers(self) -> None:
        """Remove temporary files of writers that were killed."""
        for folder in (self.location, self.inner, self.rejected, self.inner / "ledger"):
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
        file that its holder renews.

        Raises:
            FatalError: another run is alive, or nothing can be written here.
        """
        with self._local_lock() if self.location.is_local else self._renewed_lock():
            yield

    @contextmanager
    def _local_lock(self) -> Generator[None]:
        try:
            path = Path((self.inner / "lock").path)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise self._taken(file.read() or "another process") from None
            file.truncate(0)
            file.write(_me())
            file.flush()
            yield

    @contextmanager
    def _renewed_lock(self) -> Generator[None]:
        location, token = self.inner / "lock.json", secrets.token_hex(8)

        def holder() -> dict[str, Any]:
            try:
                held = json.loads(location.read_bytes())
                return {"token": held["token"], "by": str(held["by"]), "renewed": float(held["renewed"])}
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return {"token": "", "by": "", "renewed": 0.0}

        def renew() -> None:
            self._put_json("lock.json", {"token": token, "by": _me(), "renewed": time.time()})

        def keep_renewing() -> None:
            while not ended.wait(_LOCK_EXPIRES_S / 4):
                renew()

        held = holder()
        if time.time() - held["renewed"] < _LOCK_EXPIRES_S:
            raise self._taken(held["by"])
        renew()
        time.sleep(_LOCK_SETTLES_S)  # of two that wrote at once, the later one's stands now
        if (held := holder())["token"] != token:
            raise self._taken(held["by"])
        ended = threading.Event()
        threading.Thread(target=keep_renewing, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            if holder()["token"] == token:
                location.delete()

    def _unusable(self, error: Exception) -> FatalError:
        return FatalError(f"{self.location.url}: no place for results ({reason(error)}); correct output.path")

    def _taken(self, by: str) -> FatalError:
        return FatalError(f"{self.location.url}: another run is writing here ({by.strip()}); wait for it, or stop it")

    def _put_json(self, name: str, value: dict[str, Any]) -> None:
        (self.inner / name).put((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _parts(folder: Location) -> dict[str, int]:
    return {file.name: file.size for file in folder.list() if _PART.fullmatch(file.name)}


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Name the leaves in which two trees of settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path}: {json.dumps(old, ensure_ascii=False)} there, {json.dumps(new, ensure_ascii=False)} now"
