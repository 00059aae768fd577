"""Checkpoints wherever they lie, as directories of this node: pinned once by the driver, fetched once by each node.

The cache is `$XLM_CACHE`, or `~/.cache/xlm-batch`. Nothing in it is ever removed but by people, who may do so whenever
nothing is being fetched. It holds

    checkpoints/<content hash>/    whole and verified, for it is renamed to that name last
    known/<digest>                 the content hash of what was seen at a URL, so that it is not read again to be hashed
    incoming/<digest of URL>/      a download under way, or what a killed process left of one
    locks/<digest of URL>          held by whoever writes that download
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.sources import open_source
from pipelines.errors import FatalError, RetryableError
from pipelines.storage import locate, fsync
from xlm_core.checkpoint import content_hash, needed_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from pipelines.checkpoints.sources import Source
    from pipelines.storage import StoreSettings

_RETRY_AFTER_S = (1.0, 5.0, 20.0)  # a worker that gives up costs more than half a minute


@dataclass(frozen=True)
class PinnedCheckpoint:
    """A checkpoint of which the content is settled, for every process of a job.

    Attributes:
        url: as it was named; of a local directory, its absolute path.
        content_hash: as `xlm_core.content_hash` gives it.
        files: names of what is fetched of it; none of a local directory.
        revision: the hub's commit, if it is of a hub.
        stores: options of stores, as the job has them.
    """

    url: str
    content_hash: str
    files: tuple[str, ...] = ()
    revision: str | None = None
    stores: tuple[StoreSettings, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is used where it lies, and must be seen there by every node."""
        return "://" not in self.url


def local_directory(url: str) -> Path | None:
    """Give the directory of this machine's file system that a URL or path names; None where it lies elsewhere."""
    is_local = "://" not in url or url.startswith("file://")
    return Path(locate(url).path) if is_local else None


def pin_checkpoint(
    url: str, stores: Sequence[StoreSettings] = (), notify: Callable[[str], None] = lambda _: None
) -> PinnedCheckpoint:
    """Settle which checkpoint a job runs, by its content; one that lies elsewhere is fetched to know it.

    Args:
        url: a local directory, a directory in any store, or `hf://org/name[@revision]`.
        stores: options of stores.
        notify: receives a message if something is downloaded, which may take minutes.

    Raises:
        FatalError: there is no checkpoint, or no access to it, or no space for it.
        RetryableError: the network failed in a way that may pass.
    """
    if (directory := local_directory(url)) is not None:
        return PinnedCheckpoint(str(directory), _hash_in_place(directory))
    source = open_source(url, stores)
    identity = source.identity()
    cache = _Cache.of_this_node()
    found = cache.fetched(url, identity)
    if found is None:
        with cache.downloading(url) as incoming:
            found = cache.fetched(url, identity)  # another process may have been first
            if found is None:
                notify(f"fetching {url} …")
                found = _fetch(url, source, source.files(), incoming)
                if source.identity() != identity:
                    raise RetryableError(f"{url}: changed while it was read; run it again once it stays as it is")
                cache.publish(incoming, found)
                cache.remember(found, url, identity)
    files = tuple(sorted(path.name for path in cache.entry(found).iterdir()))
    return PinnedCheckpoint(url, found, files, source.revision, tuple(stores))


def local_checkpoint(pinned: PinnedCheckpoint) -> Path:
    """Give this node's directory of a checkpoint; whatever number of processes ask at once, one of them fetches it.

    Raises:
        FatalError: it is not what was pinned any more, or as `pin_checkpoint`.
        RetryableError: the network failed in a way that may pass.
    """
    if pinned.is_local:
        directory = Path(pinned.url)
        if not directory.is_dir():
            raise FatalError(
                f"{directory}: no such directory on node {platform.node()}; put the checkpoint on a file system that "
                "all nodes share, or name its URL"
            )
        _check(pinned, _hash_in_place(directory))
        return directory
    cache = _Cache.of_this_node()
    entry = cache.entry(pinned.content_hash)
    if not entry.is_dir():
        with cache.downloading(pinned.url) as incoming:
            if not entry.is_dir():
                source = open_source(pinned.url, pinned.stores, pinned.revision)
                _check(pinned, _fetch(pinned.url, source, pinned.files, incoming))
                cache.publish(incoming, pinned.content_hash)
    return entry


@contextmanager
def named_as(url: str, directory: Path) -> Generator[None]:
    """Have errors name what people named, where they name a directory of the cache."""
    try:
        yield
    except FatalError as error:
        raise type(error)(str(error).replace(str(directory), url)) from None


def _check(pinned: PinnedCheckpoint, found: str) -> None:
    if found != pinned.content_hash:
        raise FatalError(
            f"{pinned.url}: changed while the job ran; it began with content {pinned.content_hash[:12]}, and there is "
            f"now {found[:12]} (seen on node {platform.node()}); put the former back, or begin a new output"
        )


def _fetch(url: str, source: Source, files: Sequence[str], incoming: Path) -> str:
    """Download into a directory that is ours; gives the content hash of what came."""
    for wait_s in (*_RETRY_AFTER_S, None):
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        try:
            source.fetch(files, incoming)
            break
        except RetryableError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
    with named_as(url, incoming):
        return content_hash(incoming)


def _hash_in_place(directory: Path) -> str:
    """Hash a local directory; once, for the many processes that ask, where there is a cache to note it in."""
    cache = _Cache.of_this_node()
    identity = None
    with suppress(OSError):
        stats = [
            (name, (directory / name).stat()) for name in needed_files([path.name for path in directory.iterdir()])
        ]
        identity = repr([(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in stats])
    found = cache.recall(str(directory), identity)
    if found is None:
        found = content_hash(directory)
        with suppress(OSError):  # then the next process hashes it as well
            cache.remember(found, str(directory), identity)
    return found


@dataclass(frozen=True)
class _Cache:
    root: Path

    @classmethod
    def of_this_node(cls) -> _Cache:
        return cls(Path(os.environ.get("XLM_CACHE") or "~/.cache/xlm-batch").expanduser().absolute())

    def entry(self, content: str) -> Path:
        """Where a checkpoint of this content is, or will be; if it is there, it is whole."""
        return self.root / "checkpoints" / content

    @contextmanager
    def downloading(self, url: str) -> Generator[Path]:
        """Give the directory to download a URL into, to one process at a time; others wait.

        Raises:
            FatalError: the cache cannot be written; so an OSError within must be the cache's.
        """
        incoming = self.root / "incoming" / _digest(url)
        try:
            incoming.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(incoming.name):
                self._sweep()
                try:
                    yield incoming
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
        except OSError as error:
            raise FatalError(
                f"{self.root}: cannot be written ({error.strerror or error}) while fetching {url}; make space or give "
                "permission there, or set XLM_CACHE to another directory"
            ) from None

    def publish(self, incoming: Path, content: str) -> None:
        """Give a download its name, once it will outlast a power failure."""
        for path in (*incoming.iterdir(), incoming):
            fsync(path)
        entry = self.entry(content)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            incoming.rename(entry)
        except OSError:
            if not entry.is_dir():  # the same content came from another URL
                raise
        fsync(entry.parent)

    def fetched(self, url: str, identity: str | None) -> str | None:
        """Give the content hash of what is at a URL, if it is here as well."""
        found = self.recall(url, identity)
        return found if found is not None and self.entry(found).is_dir() else None

    def recall(self, url: str, identity: str | None) -> str | None:
        """Give the content hash of what is at a URL, if it was seen before."""
        if identity is not None:
            with suppress(OSError):
                return self._known(url, identity).read_text(encoding="ascii")
        return None

    def remember(self, content: str, url: str, identity: str | None) -> None:
        """Note the content hash of what is at a URL."""
        if identity is not None:
            locate(str(self._known(url, identity))).put(content.encode())

    def _known(self, url: str, identity: str) -> Path:
        # another version may hash otherwise
        return self.root / "known" / _digest(url, identity, importlib.metadata.version("xlm-batch"))

    def _sweep(self) -> None:
        """Remove what killed processes left: downloads of which nobody holds the lock."""
        for leftover in (self.root / "incoming").iterdir():
            with suppress(BlockingIOError), self._locked(leftover.name, wait=False):
                shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Generator[None]:
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:  # the lock goes with the process, however it ends
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
