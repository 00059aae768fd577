"""A file or directory at any `pyarrow.fs` or `fsspec` URL: read, write, list, with retries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.errors import FatalError, RetryableError
from pipelines.storage.file_table import FileInfo
from pipelines.storage.local_files import final_name, scan, temporary_name, walk, write_atomically
from pipelines.storage.local_paths import local_path
from pipelines.storage.retries import access_with_retries
from pipelines.storage.store_settings import canonical_url, contains_secret, find_settings, secret_in_url_message
from pipelines.storage.stores import find_etag, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.storage.store_settings import StoreSettings

ValueT = TypeVar("ValueT")

_LOCAL = pafs.LocalFileSystem()

# A file that is sent to these stores in one request appears completely or not at all. On others, files are renamed.
_OBJECT_STORES = (pafs.S3FileSystem, pafs.GcsFileSystem)
_FSSPEC_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory", "hf"}

_FILES_AT_ONCE = 4_096  # whose local paths are asked for


@dataclass(frozen=True)
class Location:
    """A file or directory.

    All methods raise FatalError for errors that the user must correct (access, disk space), and RetryableError for
    errors that may be temporary, but remained after several retries. On the local file system nothing is retried, and
    other OSErrors are not converted.

    Attributes:
        url: as written by the user, with the usual name of its scheme; the absolute path on the local file system.
        path: its path within the file system.
        fs: the file system.
        stores: settings of stores, for locations below this one.
    """

    url: str
    path: str
    fs: pafs.FileSystem
    stores: tuple[StoreSettings, ...] = ()

    def __truediv__(self, name: str) -> Location:
        """Return the file or directory with this name below this directory."""
        return Location(f"{self.url.rstrip('/')}/{name}", f"{self.path.rstrip('/')}/{name}", self.fs, self.stores)

    @property
    def parent(self) -> Location:
        """The directory that contains it."""
        url, path = (text.rstrip("/").rpartition("/")[0] for text in (self.url, self.path))
        return Location(url, path, self.fs, self.stores)

    def __reduce__(self) -> tuple[object, tuple[str, tuple[StoreSettings, ...]]]:
        # File systems have open connections, so they are not pickled, but opened again.
        return locate, (self.url, self.stores)

    @property
    def is_local(self) -> bool:
        """Whether it is on the local file system."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def fsspec(self) -> Any:
        """The fsspec file system; None for file systems of pyarrow."""
        handler = self.fs.handler if isinstance(self.fs, pafs.PyFileSystem) else None
        return handler.fs if isinstance(handler, pafs.FSSpecHandler) else None

    def with_retries(self, act: Callable[[], ValueT]) -> ValueT:
        """Call a function that accesses this location, with retries."""
        return access_with_retries(self.url, act, is_local=self.is_local)

    def exists(self) -> bool:
        """Whether there is a file or a directory."""
        return self._info().type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self._info().type == pafs.FileType.File

    def file_info(self) -> FileInfo:
        """Return the current size and modification time of the file.

        Raises:
            FileNotFoundError: there is no file.
        """
        info = self._info()
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(self.url)
        return self._to_file_info(info, None)

    def list(self) -> list[FileInfo]:
        """List the files in this directory, ordered by path; none if there is no directory."""
        return [*self._files(recursive=False)]

    def walk(self) -> Iterator[FileInfo]:
        """Yield the files in this directory and in all directories below it, ordered by path.

        A link to a directory that contains it is skipped, because its files are listed anyway.
        """
        return self._files(recursive=True)

    def scan(self, *, recursive: bool = False) -> Iterator[tuple[str, int]]:
        """Yield the path below this directory and the size in bytes of each file in it, in no order.

        Unlike `walk`, this takes little memory for millions of files.
        """
        if self.is_local:
            found = scan(self.path, recursive=recursive)
        else:
            self._invalidate_listings()
            selector = pafs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
            infos = self.with_retries(lambda: self.fs.get_file_info(selector))
            found = ((info.path, info.size) for info in infos if info.type == pafs.FileType.File)
        start = len(self.path.rstrip("/")) + 1
        yield from ((path[start:], size) for path, size in found)

    def open(self) -> pa.NativeFile:
        """Open the file for random access. Later reads are not retried.

        Raises:
            FileNotFoundError: there is no file.
        """
        return self.with_retries(lambda: self.fs.open_input_file(self.path))

    def read_bytes(self) -> bytes:
        """Read the whole file.

        Raises:
            FileNotFoundError: there is no file.
        """
        return self.read_buffer().to_pybytes()

    def read_buffer(self) -> pa.Buffer:
        """Read the whole file, like `read_bytes`, into memory of Arrow."""
        return self.with_retries(self._read)

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """Read the whole Parquet file.

        Raises:
            FileNotFoundError: there is no file.
            pa.ArrowException: it is damaged.
        """
        data = self.read_buffer()
        try:
            return pq.read_table(pa.BufferReader(data), columns=columns)
        except OSError as error:  # the bytes are in memory, so this is not a disk error, but damaged data
            raise pa.ArrowInvalid(str(error)) from None

    def put(self, data: bytes | pa.Buffer, temporary_folder: Location | None = None) -> None:
        """Write the file atomically: readers see the old file or the complete new one.

        An object store receives it in one request. Elsewhere a temporary file is written and renamed.

        Args:
            data: the file's new content.
            temporary_folder: where temporary files are written, on the same file system; by default next to the file.
        """
        folder = temporary_folder.path if temporary_folder else self.path.rpartition("/")[0]
        temporary = f"{folder}/{temporary_name(self.name)}"
        if self.is_local:
            self.with_retries(lambda: write_atomically(Path(self.path), data, Path(temporary)))
            return
        # A signal may raise an exception in this thread. Closing the stream then would publish an incomplete file, so
        # another thread writes.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self.with_retries, lambda: self._send(data, temporary)).result()

    def delete(self) -> None:
        """Delete the file, if there is one."""
        with suppress(FileNotFoundError):
            self.with_retries(lambda: self.fs.delete_file(self.path))

    def list_temporary_files(self) -> list[FileInfo]:
        """List the temporary files in this directory. Writers that were killed or failed leave them behind."""
        return [file for file in self.list() if final_name(file.name)]

    def _invalidate_listings(self) -> None:
        """Clear fsspec's cache of listings, because it does not contain later writes of other processes."""
        if self.fsspec is not None:
            self.fsspec.invalidate_cache()

    def _read(self) -> pa.Buffer:
        with self.fs.open_input_file(self.path) as source:
            data = source.read_buffer()
            if data.size != source.size():  # some clients treat a dropped connection as the end of the file
                raise RetryableError(f"{self.url}: incomplete, got {data.size:,} of {source.size():,} bytes")
        return data

    def _send(self, data: bytes | pa.Buffer, temporary: str) -> None:
        fs = self.fsspec
        if fs is not None and not _FSSPEC_OBJECT_STORES.isdisjoint(_protocols(fs)):
            fs.pipe_file(self.path, bytes(memoryview(data)))
        elif isinstance(self.fs, _OBJECT_STORES) or not len(memoryview(data)):  # an empty file cannot be incomplete
            stream = self.fs.open_output_stream(self.path)
            stream.write(data)
            stream.close()
        else:
            is_azure = isinstance(self.fs, pafs.AzureFileSystem)
            if not is_azure:
                for path in (self.path, temporary):
                    self.fs.create_dir(path.rpartition("/")[0], recursive=True)
            # Azure's client first creates an empty file with the given name, and cannot rename; but copies are atomic.
            publish = self.fs.copy_file if is_azure else self.fs.move
            try:
                with self.fs.open_output_stream(temporary) as stream:
                    stream.write(data)
                publish(temporary, self.path)
            finally:
                with suppress(Exception):  # it was moved, or `list_temporary_files` finds it later
                    self.fs.delete_file(temporary)

    def _info(self) -> pafs.FileInfo:
        self._invalidate_listings()
        return self.with_retries(lambda: self.fs.get_file_info(self.path))

    def _to_file_info(self, info: pafs.FileInfo, details: dict[str, Any] | None) -> FileInfo:
        path = info.path[len(self.path.rstrip("/")) :].lstrip("/")
        url = f"{self.url.rstrip('/')}/{path}" if path else self.url
        if info.mtime_ns is not None or self.fsspec is None:
            return FileInfo(url, info.size, info.mtime_ns or 0)
        etag = find_etag(details or {}) or find_etag(self.with_retries(lambda: self.fsspec.info(info.path)))
        return FileInfo(url, info.size, 0, etag)

    def _files(self, *, recursive: bool) -> Iterator[FileInfo]:
        if self.is_local:
            paths = sorted(walk(self.path, recursive=recursive))
            for first in range(0, len(paths), _FILES_AT_ONCE):
                some = paths[first : first + _FILES_AT_ONCE]
                infos = self.with_retries(lambda some=some: self.fs.get_file_info(some))
                yield from (self._to_file_info(info, None) for info in infos if info.type == pafs.FileType.File)
            return
        self._invalidate_listings()
        selector = pafs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
        infos = self.with_retries(lambda: self.fs.get_file_info(selector))
        infos = sorted((info for info in infos if info.type == pafs.FileType.File), key=lambda info: info.path)
        details = self._list_details(recursive=recursive) if any(info.mtime_ns is None for info in infos) else {}
        for info in infos:
            yield self._to_file_info(info, details.get(info.path))

    def _list_details(self, *, recursive: bool) -> dict[str, dict[str, Any]]:
        """Return what an fsspec file system knows about the files in this directory, by path."""
        if self.fsspec is None:
            return {}
        depth = None if recursive else 1
        return self.with_retries(lambda: self.fsspec.find(self.path, maxdepth=depth, detail=True))


def locate(url: str, stores: Sequence[StoreSettings] = ()) -> Location:
    """Find the file system of a URL or local path. The file or directory itself is not accessed.

    Args:
        url: as written by the user. `local_path` describes how local files may be written. Other URLs are taken
            literally, except for `canonical_url`.
        stores: settings of stores; those for this URL are used.

    Raises:
        FatalError: the URL's scheme is not supported, its service cannot be reached, or the URL contains a secret.
    """
    path = local_path(url)
    if path is not None:
        return Location(path, path, _LOCAL)
    if contains_secret(url):
        raise FatalError(secret_in_url_message(url))
    url = canonical_url(url)
    fs, path = open_store(url, find_settings(url, stores))
    return Location(url, path, fs, tuple(stores))


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
