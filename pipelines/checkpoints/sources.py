"""Where remote checkpoints are downloaded from: a directory in a store, or a model hub."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.checkpoints.hub import HubRepository
from pipelines.errors import FatalError, RetryableError
from pipelines.storage import classify_error, locate
from xlm_core.checkpoint import CONFIG_FILE, needed_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from pipelines.storage import FileInfo, Location, StoreSettings

_CHUNK_BYTES = 16 << 20  # of one read; on an object store, each read is a request


class Source(Protocol):
    """The files of a remote checkpoint.

    All methods raise FatalError for errors that the user must correct, and RetryableError for errors that may be
    temporary.
    """

    @property
    def revision(self) -> str | None:
        """An identifier of this version, permanent for the URL; None if the source has no versions."""
        ...

    def identity(self) -> str | None:
        """Return a string that changes with the content, without reading it; None if there is no such string."""
        ...

    def files(self) -> tuple[str, ...]:
        """List the names of the files that a checkpoint needs."""
        ...

    def download(self, files: Sequence[str], target: Path) -> None:
        """Download files to a directory. An OSError is an error of this directory."""
        ...


def open_source(url: str, stores: Sequence[StoreSettings] = (), revision: str | None = None) -> Source:
    """Return the source of a URL: `hf://org/name[@revision]` or a directory in any store.

    Args:
        url: as written by the user.
        stores: the job's settings of stores.
        revision: the `Source.revision` of an earlier call; by default the revision in the URL, or the newest.
    """
    return HubRepository.at(url, revision) if url.startswith("hf://") else StoreDirectory(locate(url, stores))


@dataclass(frozen=True)
class StoreDirectory:
    """A directory at a `pyarrow.fs` or `fsspec` URL."""

    location: Location
    revision: None = None

    def identity(self) -> str | None:
        """Return a hash of the files' sizes and their modification times or ETags."""
        with _converted_errors(self.location.url):
            found = self._list()
            files = [found[name] for name in needed_files(found)]
        if not all(file.mtime_ns or file.etag for file in files):
            return None
        lines = [f"{file.name} {file.size} {file.mtime_ns} {file.etag}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def files(self) -> tuple[str, ...]:
        """List the names of the files that a checkpoint needs."""
        with _converted_errors(self.location.url):
            return tuple(needed_files(self._list()))

    def download(self, files: Sequence[str], target: Path) -> None:
        """Download files to a directory."""
        for name in files:
            source = self.location / name
            with _converted_errors(source.url):
                size = source.file_info().size
            with (target / name).open("wb") as file:
                for chunk in _read_chunks(source):
                    file.write(chunk)
                if file.tell() != size:
                    raise RetryableError(
                        f"{source.url}: incomplete, got {file.tell():,} of {size:,} bytes; run the same command again"
                    )

    def _list(self) -> dict[str, FileInfo]:
        found = {file.name: file for file in self.location.list()}
        if not found:
            problem = "is a file" if self.location.is_file() else "no such directory, or no files in it"
            raise FatalError(
                f"{self.location.url}: {problem}; name the directory that contains the checkpoint's {CONFIG_FILE}"
            )
        return found


def _read_chunks(source: Location) -> Iterator[bytes]:
    with _converted_errors(source.url), source.fs.open_input_stream(source.path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def _converted_errors(url: str) -> Generator[None]:
    """Convert the errors of a store. A missing file is an error that the user must correct."""
    try:
        yield
    except FileNotFoundError:
        raise FatalError(f"{url}: no such file; correct the checkpoint's URL, or upload the file") from None
    except Exception as error:
        raise classify_error(url, error) from None
