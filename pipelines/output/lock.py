"""A lock that gives one run at a time write access to an output, and that ends with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import FatalError, LockedError, NoSpaceError, RetryableError
from pipelines.output.layout import BOOKKEEPING, LOCAL_LOCK, RENEWED_LOCK, lock_name
from pipelines.storage import classify_error, describe_error

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.storage import FileInfo, Location

# A lock on a store is a file that its holder renews. It expires if it is not renewed for this long.
_EXPIRES_S = 120.0
_ATTEMPTS, _MAX_BACKOFF_S = 3, 2.0

# `find_holder` shares the local lock for an instant, and must not make a run fail.
_LOCAL_ATTEMPTS, _LOCAL_BACKOFF_S = 5, 0.05


class Holder(NamedTuple):
    """The process that holds a lock.

    Attributes:
        process: its id and host, as text.
        since_s: when it acquired the lock, in seconds since the epoch, by its own clock; 0 if that is not known.
        renewed_s: when it last renewed the lock, by the store's clock; None for a local lock, which is not renewed.
    """

    process: str
    since_s: float = 0.0
    renewed_s: float | None = None

    def to_json(self) -> bytes:
        """Return the content of the lock file."""
        return json.dumps({"by": self.process, "since": self.since_s, "renewed": time.time()}).encode()

    @classmethod
    def from_json(cls, content: bytes, renewed_s: float | None = None) -> Holder:
        """Read the content of a lock file, which may be empty or incomplete."""
        try:
            value = json.loads(content)
            return cls(str(value["by"]), float(value.get("since", 0)), renewed_s)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls("another process", 0.0, renewed_s)


class Lock:
    """A lock that is held. This class is the local lock, which cannot be lost while its holder lives.

    Attributes:
        holder: this process.
    """

    def __init__(self) -> None:
        self.holder = Holder(f"process {os.getpid()} on {socket.gethostname()}", time.time())

    def check(self) -> None:
        """Check that the lock is still held; call this before anything that only its holder may do.

        Raises:
            FatalError: the lock was lost, and another run may hold it.
        """


@contextmanager
def lock_folder(folder: Location) -> Generator[Lock]:
    """Hold the lock of a directory for the length of a `with` block.

    On a local file system this is a `flock`, which the kernel releases when its holder ends for any reason. On other
    stores it is a file that its holder renews, and that expires.

    Raises:
        LockedError: another run holds the lock.
        FatalError: the directory is not writable.
    """
    with _local_lock(folder) if folder.is_local else _renewed_lock(folder) as lock:
        yield lock


def check_unlocked(folder: Location) -> None:
    """Check that no run holds the lock of a directory. Nothing is written.

    Raises:
        LockedError: a run holds it.
    """
    if (holder := find_holder(folder)) is not None:
        raise _held_by(folder, holder)


def find_holder(folder: Location) -> Holder | None:
    """Find the process that holds the lock of a directory, if there is one. Nothing is written."""
    if folder.is_local:
        try:
            file = (Path(folder.path) / LOCAL_LOCK).open("rb")
        except (FileNotFoundError, NotADirectoryError):  # the latter if the directory is a file
            return None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Holder.from_json(file.read())
        return None
    for file in folder.list():
        if RENEWED_LOCK.fullmatch(file.name):
            renewed_s = _renewed_at(folder, file)
            if time.time() - renewed_s < _EXPIRES_S:
                return _read_holder(folder / file.name, renewed_s)
    return None


def not_writable(folder: Location, error: Exception) -> FatalError | NoSpaceError:
    """Return the error for an output directory that cannot be used."""
    classified = classify_error(folder.url, error, is_local=folder.is_local)
    if isinstance(classified, NoSpaceError):
        return classified
    return FatalError(f"{folder.url}: not usable as output ({describe_error(error)}); correct output.path")


@contextmanager
def _local_lock(folder: Location) -> Generator[Lock]:
    try:
        path = Path(folder.path) / LOCAL_LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)  # with a buffer, close() would repeat a failed write
    except (OSError, ValueError) as error:
        raise not_writable(folder, error) from None
    with file:
        for attempt in range(_LOCAL_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCAL_ATTEMPTS - 1:
                    file.seek(0)
                    raise _held_by(folder, Holder.from_json(file.read())) from None
                time.sleep(_LOCAL_BACKOFF_S)
        lock = Lock()
        try:
            file.truncate(0)
            file.write(lock.holder.to_json())
        except OSError as error:
            raise not_writable(folder, error) from None
        yield lock


@contextmanager
def _renewed_lock(folder: Location) -> Generator[Lock]:
    lock = _acquire(folder)
    released = threading.Event()

    def keep_renewing() -> None:
        while not released.wait(_EXPIRES_S / 4) and lock.renew():
            pass

    renewer = threading.Thread(target=keep_renewing, daemon=True)
    renewer.start()
    try:
        yield lock
    finally:
        released.set()
        renewer.join()
        lock.file.delete()


def _acquire(folder: Location) -> _RenewedLock:
    """Write a lock file, then check that there is no other one.

    A store lists a file as soon as it is written. If two runs start at once, at least one of them sees the other's
    file, deletes its own and retries. Each file is written by its holder alone, so nothing is overwritten, and ages
    are measured by the store's clock.
    """
    holder = Holder("another process")
    for attempt in range(_ATTEMPTS):
        lock = _RenewedLock(folder / lock_name(secrets.token_hex(8)))
        lock.put()
        others = {file.name: file for file in folder.list() if RENEWED_LOCK.fullmatch(file.name)}
        own = others.pop(lock.file.name, None)
        now = _renewed_at(folder, own) if own else time.time()
        valid = [file for file in others.values() if now - _renewed_at(folder, file) < _EXPIRES_S]
        if not valid:
            for name in others:  # a holder that was only suspended notices that its file is missing
                (folder / name).delete()
            return lock
        lock.file.delete()
        holder = _read_holder(folder / valid[0].name, _renewed_at(folder, valid[0]))
        if attempt < _ATTEMPTS - 1:
            time.sleep(random.uniform(0, _MAX_BACKOFF_S))  # so that two runs do not collide again
    raise _held_by(folder, holder)


class _RenewedLock(Lock):
    def __init__(self, file: Location):
        super().__init__()
        self.file = file
        self._lost = False
        self._renewed = time.monotonic()

    def put(self) -> None:
        start = time.monotonic()
        self.file.put(self.holder.to_json())
        # If this took very long, another run may have removed the file in between, and this write restored it.
        self._lost = self._lost or time.monotonic() - start > _EXPIRES_S / 2
        self._renewed = start

    def renew(self) -> bool:
        """Renew the lock unless its file was removed, and return whether it is still held."""
        try:
            self._lost = self._lost or not self.file.is_file()
            if not self._lost:
                self.put()
        except (RetryableError, FatalError):
            pass  # perhaps temporary; `check` retries, and other writes report the error
        return not self._lost

    def check(self) -> None:
        if time.monotonic() - self._renewed > _EXPIRES_S / 2:  # renewing failed, or the process was suspended
            self._lost = self._lost or not self.file.is_file()
        if self._lost:
            raise FatalError(
                f"{self.file.url}: this run lost its lock, so another run may be writing; committed shards are kept"
            )


def _renewed_at(folder: Location, file: FileInfo) -> float:
    """Return when a lock was last renewed, in seconds, by the store's clock or, if it has none, its holder's."""
    if file.mtime_ns:
        return file.mtime_ns / 1e9
    try:
        return float(json.loads((folder / file.name).read_bytes())["renewed"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0.0


def _read_holder(file: Location, renewed_s: float) -> Holder:
    try:
        holder = Holder.from_json(file.read_bytes(), renewed_s)
    except FileNotFoundError:  # released in between
        holder = Holder("another process", 0.0, renewed_s)
    return holder._replace(process=f"{holder.process}, lock {file.name}")


def _held_by(folder: Location, holder: Holder) -> LockedError:
    out = folder.url.removesuffix(f"/{BOOKKEEPING}")
    return LockedError(f"{out}: another run is writing here ({holder.process}); wait for it, or stop it")
