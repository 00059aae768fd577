"""Make checkpoints at any URL available as local directories. The driver pins their content, each node downloads once.

The cache is `$XLM_CACHE` or `~/.cache/xlm-batch`. Checkpoints are never removed from it automatically; users may delete
them while no job is starting. It contains

    checkpoints/<content hash>/    complete and verified checkpoints: downloads get this name when they are finished
    known/<digest>                 the content hash of a URL, so that unchanged checkpoints are not read to be hashed
    incoming/<digest of URL>/      a download in progress, or one that a killed process left behind
    locks/<digest of URL>          locked by the process that writes the download
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.hub import find_repository_name
from pipelines.checkpoints.sources import open_source
from pipelines.errors import FatalError, RetryableError
from pipelines.storage import fsync, locate, with_retries
from xlm_core.builtin import builtin_directory, is_builtin
from xlm_core.checkpoint import content_hash, needed_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from pipelines.checkpoints.sources import Source
    from pipelines.storage import StoreSettings


@dataclass(frozen=True)
class PinnedCheckpoint:
    """A checkpoint with a fixed content. All processes of a job use this content, or fail.

    Attributes:
        url: as written by the user; for a local directory, its absolute path.
        content_hash: the result of `xlm_core.content_hash`.
        files: names of the files to download; empty for a local directory and for one in this package.
        revision: the commit, for a checkpoint on a hub.
        stores: the job's settings of stores.
    """

    url: str
    content_hash: str
    files: tuple[str, ...] = ()
    revision: str | None = None
    stores: tuple[StoreSettings, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of each node, which is not copied: a local one, or one in this package."""
        return "://" not in self.url or is_builtin(self.url)


def local_directory(url: str) -> Path | None:
    """Return the directory that a path, or the URL of a checkpoint in this package, names; None for other URLs.

    Raises:
        FatalError: there is no such directory.
    """
    if is_builtin(url):
        return builtin_directory(url)
    if "://" in url and not url.startswith("file:"):
        return None
    directory = Path(locate(url).path)
    if not directory.is_dir():
        repository = find_repository_name(url)
        hint = "" if repository is None else f"; for the repository on the hub, write hf://{repository}"
        raise FatalError(f"{directory}: no such checkpoint directory{hint}")
    return directory


def pin_checkpoint(
    url: str, stores: Sequence[StoreSettings] = (), notify: Callable[[str], None] = lambda _: None
) -> PinnedCheckpoint:
    """Determine the content of a job's checkpoint. A remote checkpoint is downloaded for that, if it is not cached.

    Args:
        url: a local directory, a directory in any store, `hf://org/name[@revision]`, or `builtin://name`.
        stores: the job's settings of stores.
        notify: receives a message before a download, which may take minutes.

    Raises:
        FatalError: there is no checkpoint, no access to it, or no disk space for it.
        RetryableError: the network or the store failed, perhaps temporarily.
    """
    if (directory := local_directory(url)) is not None:
        return PinnedCheckpoint(url if is_builtin(url) else str(directory), _hash_local_directory(directory))
    source = open_source(url, stores)
    identity = source.identity()
    cache = _Cache.open()
    content = cache.find(url, identity)
    if content is None:
        with cache.lock_download(url) as incoming:
            content = cache.find(url, identity)  # another process may have downloaded it in the meantime
            if content is None:
                notify(f"downloading {url} …")
                content = _download(url, source, source.files(), incoming)
                if source.identity() != identity:
                    raise RetryableError(f"{url}: changed during the download; run the same command again")
                cache.publish(incoming, content)
                cache.write_known_hash(content, url, identity)
    files = tuple(sorted(path.name for path in cache.directory_of(content).iterdir()))
    return PinnedCheckpoint(url, content, files, source.revision, tuple(stores))


def local_checkpoint(pinned: PinnedCheckpoint) -> Path:
    """Return the local directory of a checkpoint. If it must be downloaded, one process of the node does so.

    Raises:
        FatalError: its content is no longer the pinned content; or as in `pin_checkpoint`.
        RetryableError: as in `pin_checkpoint`.
    """
    if pinned.is_local:
        directory = builtin_directory(pinned.url) if is_builtin(pinned.url) else Path(pinned.url)
        if not directory.is_dir():
            raise FatalError(
                f"{directory}: no such directory on node {platform.node()}; put the checkpoint on a file system that "
                "all nodes share, or use a URL"
            )
        _check_content(pinned, _hash_local_directory(directory))
        return directory
    cache = _Cache.open()
    directory = cache.directory_of(pinned.content_hash)
    if not directory.is_dir():
        with cache.lock_download(pinned.url) as incoming:
            if not directory.is_dir():
                source = open_source(pinned.url, pinned.stores, pinned.revision)
                _check_content(pinned, _download(pinned.url, source, pinned.files, incoming))
                cache.publish(incoming, pinned.content_hash)
    return directory


@contextmanager
def url_in_errors(url: str, directory: Path) -> Generator[None]:
    """Replace the cache's directory by the URL in the messages of FatalErrors."""
    try:
        yield
    except FatalError as error:
        raise type(error)(str(error).replace(str(directory), url)) from None


def _check_content(pinned: PinnedCheckpoint, content: str) -> None:
    if content != pinned.content_hash:
        raise FatalError(
            f"{pinned.url}: changed during the run, got content {content[:12]} on node {platform.node()}, expected "
            f"{pinned.content_hash[:12]}; restore the checkpoint, or start a new output"
        )


def _download(url: str, source: Source, files: Sequence[str], incoming: Path) -> str:
    """Download files into a directory, which is cleared before, and return the content hash."""

    def attempt() -> None:
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        source.download(files, incoming)

    with_retries(attempt)
    with url_in_errors(url, incoming):
        return content_hash(incoming)


def _hash_local_directory(directory: Path) -> str:
    """Return the content hash of a local directory, from the cache if the directory has not changed."""
    cache = _Cache.open()
    identity = None
    with suppress(OSError):
        stats = [
            (name, (directory / name).stat()) for name in needed_files([path.name for path in directory.iterdir()])
        ]
        identity = repr([(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in stats])
    content = cache.read_known_hash(str(directory), identity)
    if content is None:
        content = content_hash(directory)
        with suppress(OSError):  # without a cache, each process computes the hash
            cache.write_known_hash(content, str(directory), identity)
    return content


@dataclass(frozen=True)
class _Cache:
    root: Path

    @classmethod
    def open(cls) -> _Cache:
        return cls(Path(os.environ.get("XLM_CACHE") or "~/.cache/xlm-batch").expanduser().absolute())

    def directory_of(self, content: str) -> Path:
        """Return the directory for this content. If it exists, it is complete."""
        return self.root / "checkpoints" / content

    @contextmanager
    def lock_download(self, url: str) -> Generator[Path]:
        """Wait until no other process downloads this URL, and yield the directory for the download.

        Raises:
            FatalError: the cache cannot be written. OSErrors inside the `with` block are converted to this error too,
                so they must be errors of the cache.
        """
        incoming = self.root / "incoming" / _digest(url)
        try:
            incoming.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(incoming.name):
                self._remove_stale_downloads()
                try:
                    yield incoming
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
        except OSError as error:
            raise FatalError(
                f"{self.root}: cannot be written ({error.strerror or error}) while downloading {url}; free space or "
                "correct its permissions, or set XLM_CACHE to another directory"
            ) from None

    def publish(self, incoming: Path, content: str) -> None:
        """Flush a download to disk, and rename it to its final name."""
        for path in (*incoming.iterdir(), incoming):
            fsync(path)
        directory = self.directory_of(content)
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            incoming.rename(directory)
        except OSError:
            if not directory.is_dir():  # otherwise the same content was downloaded from another URL
                raise
        fsync(directory.parent)

    def find(self, url: str, identity: str | None) -> str | None:
        """Return the content hash of a URL, if its checkpoint is in the cache.

        Args:
            url: the checkpoint's URL.
            identity: of its current version, as in `Source.identity`.
        """
        content = self.read_known_hash(url, identity)
        return content if content is not None and self.directory_of(content).is_dir() else None

    def read_known_hash(self, url: str, identity: str | None) -> str | None:
        """Return the content hash of a URL, if it is known."""
        if identity is not None:
            with suppress(OSError):
                return self._known_hash_file(url, identity).read_text(encoding="ascii")
        return None

    def write_known_hash(self, content: str, url: str, identity: str | None) -> None:
        """Record the content hash of a URL."""
        if identity is not None:
            locate(str(self._known_hash_file(url, identity))).put(content.encode())

    def _known_hash_file(self, url: str, identity: str) -> Path:
        # Other versions of the package may compute other hashes.
        return self.root / "known" / _digest(url, identity, importlib.metadata.version("xlm-batch"))

    def _remove_stale_downloads(self) -> None:
        """Remove the downloads of processes that were killed. Their locks are free."""
        for directory in (self.root / "incoming").iterdir():
            with suppress(BlockingIOError), self._locked(directory.name, wait=False):
                shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Generator[None]:
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:  # the kernel releases the lock when the process ends, for any reason
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
