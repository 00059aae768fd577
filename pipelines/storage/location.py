"""Files wherever they lie, at any `pyarrow.fs` or `fsspec` URL: read whole, written whole, listed, tried again."""

from __future__ import annotations

import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.errors import FatalError, RetryableError
from pipelines.storage.options import holds_secret, options_of, refusal
from pipelines.storage.retries import persistently
from pipelines.storage.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.storage.options import StoreSettings

Value = TypeVar("Value")

# Stores where a file appears whole, or not at all, when it was sent whole. On other file systems it is renamed.
_OBJECT_STORES = (pafs.S3FileSystem, pafs.GcsFileSystem)
_FSSPEC_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory", "hf"}

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")  # the names that `temporary_name` gives


class FileInfo(NamedTuple):
    """One file and what tells whether it is still the same."""

    url: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Location:
    """A file or directory: its URL as people write it, and how to reach it.

    What its methods raise, beside what they say: FatalError for what a person must correct (access, space), and
    RetryableError for what may pass but did not within several tries. On this machine's own file system nothing is
    tried again, and its other OSErrors come as they are.
    """

    url: str
    path: str
    fs: pafs.FileSystem
    stores: tuple[StoreSettings, ...] = ()

    def __truediv__(self, name: str) -> Location:
        """Give a file or directory below this one."""
        return Location(f"{self.url.rstrip('/')}/{name}", f"{self.path.rstrip('/')}/{name}", self.fs, self.stores)

    def __reduce__(self) -> tuple[object, tuple[str, tuple[StoreSettings, ...]]]:
        # file systems hold connections: another process opens its own
        return locate, (self.url, self.stores)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's file system."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def fsspec(self) -> Any:
        """The file system of fsspec that serves it; None where pyarrow has its own."""
        handler = self.fs.handler if isinstance(self.fs, pafs.PyFileSystem) else None
        return handler.fs if isinstance(handler, pafs.FSSpecHandler) else None

    def persistently(self, act: Callable[[], Value]) -> Value:
        """Do something here, again after growing waits as long as its errors may pass."""
        return persistently(self.url, act, is_local=self.is_local)

    def exists(self) -> bool:
        """Whether there is a file or a directory here."""
        return self._info().type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether there is a file here."""
        return self._info().type == pafs.FileType.File

    def file_info(self) -> FileInfo:
        """Look at the file now.

        Raises:
            FileNotFoundError: there is none.
        """
        info = self._info()
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(self.url)
        return FileInfo(self.url, info.size, info.mtime_ns or 0)

    def list(self, *, recursive: bool = False) -> list[FileInfo]:
        """List the files below this directory, none if there is no directory; in the order of their names.

        A directory that is a link to one above it is passed over: its files are there already.
        """
        if self.is_local:
            found = sorted(_walk(self.path, recursive=recursive))
            infos = self.persistently(lambda: self.fs.get_file_info(found))
        else:
            self._forget_listings()
            selector = pafs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
            infos = sorted(self.persistently(lambda: self.fs.get_file_info(selector)), key=lambda info: info.path)
        return [self._below(info) for info in infos if info.type == pafs.FileType.File]

    def open(self) -> pa.NativeFile:
        """Open the file to read parts of it; reading is not tried again.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.persistently(lambda: self.fs.open_input_file(self.path))

    def read_bytes(self) -> bytes:
        """Read the whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.persistently(self._read)

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """Read the whole Parquet file.

        Raises:
            FileNotFoundError: there is none.
            pa.ArrowException: it is damaged.
        """
        data = self.read_bytes()
        try:
            return pq.read_table(pa.BufferReader(data), columns=columns)
        except OSError as error:  # of bytes in memory: what Arrow takes for trouble with a disk is damage here
            raise pa.ArrowInvalid(str(error)) from None

    def put(self, data: bytes | pa.Buffer) -> None:
        """Write a file whole: a reader sees the old file or the new one, never a part.

        An object store takes it in one request. Elsewhere it is written under a temporary name and renamed.
        """
        if self.is_local:
            self.persistently(lambda: _put_locally(Path(self.path), data))
            return
        # in another thread: an exception that a signal raises in this one must not close, and so publish, a part of it
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self.persistently, lambda: self._send(data)).result()

    def delete(self) -> None:
        """Remove the file; it is no error if there is none."""
        with suppress(FileNotFoundError):
            self.persistently(lambda: self.fs.delete_file(self.path))

    def leftovers(self) -> list[FileInfo]:
        """List temporary files that killed or failed writers left in this directory."""
        return [file for file in self.list() if final_name(file.name)]

    def _forget_listings(self) -> None:
        """Have the store asked: many clients of fsspec answer from what they saw before others wrote there."""
        if self.fsspec is not None:
            self.fsspec.invalidate_cache()

    def _read(self) -> bytes:
        with self.fs.open_input_file(self.path) as source:
            data = source.read()
            if len(data) != source.size():  # a connection that breaks off can look like the file's end
                raise RetryableError(f"{self.url}: broke off, got {len(data):,} of {source.size():,} bytes")
        return data

    def _send(self, data: bytes | pa.Buffer) -> None:
        fs = self.fsspec
        if fs is not None and not _FSSPEC_OBJECT_STORES.isdisjoint(_protocols(fs)):
            fs.pipe_file(self.path, bytes(memoryview(data)))
        elif isinstance(self.fs, _OBJECT_STORES) or not len(memoryview(data)):  # an empty file has no parts
            stream = self.fs.open_output_stream(self.path)
            stream.write(data)
            stream.close()
        else:
            parent, _, name = self.path.rpartition("/")
            temporary = f"{parent}/{temporary_name(name)}"
            on_azure = isinstance(self.fs, pafs.AzureFileSystem)
            if not on_azure:
                self.fs.create_dir(parent, recursive=True)
            # its client makes an empty file of the name first, and cannot rename; but a copy appears whole
            publish = self.fs.copy_file if on_azure else self.fs.move
            try:
                with self.fs.open_output_stream(temporary) as stream:
                    stream.write(data)
                publish(temporary, self.path)
            finally:
                with suppress(Exception):  # it was moved; or what cannot be removed now is found by `leftovers`
                    self.fs.delete_file(temporary)

    def _info(self) -> pafs.FileInfo:
        self._forget_listings()
        return self.persistently(lambda: self.fs.get_file_info(self.path))

    def _below(self, info: pafs.FileInfo) -> FileInfo:
        inner = info.path[len(self.path.rstrip("/")) :].lstrip("/")
        return FileInfo(f"{self.url.rstrip('/')}/{inner}", info.size, info.mtime_ns or 0)


def locate(url: str, stores: Sequence[StoreSettings] = ()) -> Location:
    """Find the file system of a URL or local path; nothing is read yet.

    Args:
        url: as people write it.
        stores: options of stores, of which those for this URL are used.

    Raises:
        FatalError: nothing here serves such URLs, or the service cannot be reached, or the URL holds a secret.
    """
    if "://" in url and not url.startswith("file://"):
        if holds_secret(url):
            raise FatalError(refusal(url))
        fs, within = open_store(url, options_of(url, stores))
        return Location(url, within, fs, tuple(stores))
    path = os.path.normpath(Path(url.removeprefix("file://")).expanduser().absolute())
    return Location(path, path, pafs.LocalFileSystem())


def temporary_name(name: str) -> str:
    """Name a file until it is whole; the dot makes every reader of datasets skip what a killed process leaves."""
    return f".{name}.{secrets.token_hex(4)}.tmp"


def final_name(name: str) -> str | None:
    """Give what a temporary file would have been renamed to; None for any other file."""
    found = _TEMPORARY.fullmatch(name)
    return found and found[1]


def parquet_bytes(table: pa.Table, **options: Any) -> pa.Buffer:
    """Write a table as Parquet to memory, to be put whole; `options` are those of `pyarrow.parquet.write_table`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


def _walk(folder: str, *, recursive: bool, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Give the paths of what a directory holds that is none; nothing where there is no directory."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    above = (*above, os.path.realpath(folder))
    for entry in entries:
        if not entry.is_dir():
            yield entry.path
        elif recursive and os.path.realpath(entry.path) not in above:
            yield from _walk(entry.path, recursive=True, above=above)


def _put_locally(target: Path, data: bytes | pa.Buffer) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(temporary_name(target.name))
    try:
        with temporary.open("wb") as file:
            file.write(memoryview(data))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a directory, would outlast a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
