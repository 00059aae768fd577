"""One writer: a lock on an output, which a dead holder's does not block and a suspended holder's does not survive."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import secrets
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FatalError, RetryableError
from pipelines.storage.retries import reason

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.storage import FileInfo, Location

# A lock on a store is a file that its holder renews; one that was not renewed for this long is a dead one's.
_EXPIRES_S = 120.0
_ATTEMPTS, _STEP_BACK_S = 3, 2.0

_LOCK = re.compile(r"lock-[0-9a-f]{16}\.json")


class Lock:
    """A lock that is held."""

    def check(self) -> None:
        """Make sure that it is still held, before something is done that only its holder may do.

        Raises:
            FatalError: it was lost, and another run may be at work.
        """


@contextmanager
def lock_folder(folder: Location) -> Generator[Lock]:
    """Hold the lock of a directory for the length of a `with` block.

    On a local file system the lock is the kernel's and ends with its holder, however that dies. Elsewhere it is a
    file that its holder renews.

    Raises:
        FatalError: another holder is alive, or nothing can be written here.
    """
    with _local_lock(folder) if folder.is_local else _renewed_lock(folder) as lock:
        yield lock


def no_place(folder: Location, error: Exception) -> FatalError:
    """Say that an output cannot be written where the job wants it."""
    return FatalError(f"{folder.url}: no place for results ({reason(error)}); correct output.path")


@contextmanager
def _local_lock(folder: Location) -> Generator[Lock]:
    try:
        path = Path(folder.path) / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)  # with a buffer, closing would try once more what has failed
    except (OSError, ValueError) as error:
        raise no_place(folder, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _taken(folder, file.read().decode() or "another process") from None
        try:
            file.truncate(0)
            file.write(_me().encode())
        except OSError as error:
            raise no_place(folder, error) from None
        yield Lock()


@contextmanager
def _renewed_lock(folder: Location) -> Generator[Lock]:
    lock = _take(folder)
    ended = threading.Event()

    def keep_renewing() -> None:
        while not ended.wait(_EXPIRES_S / 4) and lock.renew():
            pass

    renewer = threading.Thread(target=keep_renewing, daemon=True)
    renewer.start()
    try:
        yield lock
    finally:
        ended.set()
        renewer.join()
        lock.file.delete()


def _take(folder: Location) -> _RenewedLock:
    """Put a lock's file there, then look whether there is another one.

    A store lists a file as soon as it was put, so of two that come at once at least one sees the other's file, and
    steps back. Each is written by its holder alone: nothing is overwritten, and no clock but the store's is asked.
    """
    holder = ""
    for attempt in range(_ATTEMPTS):
        lock = _RenewedLock(folder / f"lock-{secrets.token_hex(8)}.json")
        lock.put()
        found = {file.name: file for file in folder.list() if _LOCK.fullmatch(file.name)}
        mine = found.pop(lock.file.name, None)
        now = _renewed(folder, mine) if mine else time.time()
        alive = [file for file in found.values() if now - _renewed(folder, file) < _EXPIRES_S]
        if not alive:
            for name in found:  # its holder, if it is not dead but suspended, will see that it lost the lock
                (folder / name).delete()
            return lock
        lock.file.delete()
        holder = f"{_read(folder / alive[0].name) or 'another process'}, lock {alive[0].name}"
        if attempt < _ATTEMPTS - 1:
            time.sleep(random.uniform(0, _STEP_BACK_S))  # two that both stepped back do not come back together
    raise _taken(folder, holder)


class _RenewedLock(Lock):
    def __init__(self, file: Location):
        self.file = file
        self._lost = False
        self._renewed = time.monotonic()

    def put(self) -> None:
        began = time.monotonic()
        self.file.put(json.dumps({"by": _me(), "renewed": time.time()}).encode())
        # if it took so long, another run may have taken the lock meanwhile, and this put back the file it removed
        self._lost = self._lost or time.monotonic() - began > _EXPIRES_S / 2
        self._renewed = began

    def renew(self) -> bool:
        """Renew it if it is still there; gives whether it is."""
        try:
            self._lost = self._lost or not self.file.is_file()
            if not self._lost:
                self.put()
        except (RetryableError, FatalError):
            pass  # the store is in trouble, and whoever writes there next will hear of it; `check` asks again
        return not self._lost

    def check(self) -> None:
        if time.monotonic() - self._renewed > _EXPIRES_S / 2:  # the renewer could not, or the process was suspended
            self._lost = self._lost or not self.file.is_file()
        if self._lost:
            raise FatalError(
                f"{self.file.url}: the lock of this run is gone, so another may be at work; what is done is kept"
            )


def _renewed(folder: Location, file: FileInfo) -> float:
    """When a lock was last renewed, in seconds: by the store's clock, or by its holder's where the store tells none."""
    if file.mtime_ns:
        return file.mtime_ns / 1e9
    try:
        return float(json.loads((folder / file.name).read_bytes())["renewed"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0.0


def _read(file: Location) -> str:
    try:
        return str(json.loads(file.read_bytes())["by"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _taken(folder: Location, by: str) -> FatalError:
    return FatalError(f"{folder.url}: another run is writing here ({by.strip()}); wait for it, or stop it")


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
