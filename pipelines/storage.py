"""Files wherever they lie: any `pyarrow.fs` or `fsspec` URL, listed, identified and written whole."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
import fsspec.core
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC = re.compile(r"[*?\[]")


class FileInfo(NamedTuple):
    """One input file and what tells whether it is still the same."""

    url: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Location:
    """A file or directory: its URL as people write it, and how to reach it."""

    url: str
    path: str
    fs: pafs.FileSystem

    def __truediv__(self, name: str) -> Location:
        """Give a file or directory below this one."""
        return Location(f"{self.url.rstrip('/')}/{name}", f"{self.path.rstrip('/')}/{name}", self.fs)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # file systems of fsspec hold connections: another process opens its own
        return locate, (self.url,)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's file system."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is a file or a directory here."""
        return self.fs.get_file_info(self.path).type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether there is a file here."""
        return self.fs.get_file_info(self.path).type == pafs.FileType.File

    def list(self, *, recursive: bool = False) -> list[FileInfo]:
        """List the files below this directory, none if there is no directory; in the order of their names."""
        selector = pafs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
        found = [info for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.File]
        return [_file_info(self, info) for info in sorted(found, key=lambda info: info.path)]

    def read_bytes(self) -> bytes:
        """Read the whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.fs.open_input_stream(self.path) as stream:
            return stream.read()

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """Read the whole Parquet file.

        Raises:
            FileNotFoundError: there is none.
            pa.ArrowException: it is damaged.
        """
        return pq.read_table(pa.BufferReader(self.read_bytes()), columns=columns)

    def put(self, data: bytes | pa.Buffer) -> None:
        """Write a file whole: a reader sees the old file or the new one, never a part.

        On a file system it is written under another name and renamed; elsewhere it is one request. A temporary name
        begins with a dot, so that every reader of datasets skips what a killed process leaves.
        """
        if self.is_local:
            target = Path(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
            try:
                with temporary.open("wb") as file:
                    file.write(memoryview(data))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
                _sync_directory(target.parent)
            except BaseException:
                with suppress(FileNotFoundError):
                    temporary.unlink()
                raise
            return
        parent = self.path.rpartition("/")[0]
        if parent and not isinstance(self.fs, pafs.S3FileSystem):
            self.fs.create_dir(parent, recursive=True)
        with self.fs.open_output_stream(self.path) as stream:
            stream.write(data)

    def delete(self) -> None:
        """Remove the file; it is no error if there is none."""
        with suppress(FileNotFoundError):
            self.fs.delete_file(self.path)

    def delete_leftovers(self) -> None:
        """Remove temporary files that killed writers left in this directory."""
        if self.is_local:
            for path in Path(self.path).glob(".*.tmp"):
                path.unlink(missing_ok=True)


def parquet_bytes(table: pa.Table, **options: Any) -> pa.Buffer:
    """Write a table as Parquet to memory, to be put whole; `options` are those of `pyarrow.parquet.write_table`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


def locate(url: str) -> Location:
    """Find the file system of a URL or local path; nothing is read yet.

    Raises:
        FatalError: nothing here serves such URLs, or the service cannot be reached.
    """
    if "://" in url and not url.startswith("file://"):
        return _locate_remote(url)
    path = os.path.normpath(Path(url.removeprefix("file://")).expanduser().absolute())
    return Location(path, path, pafs.LocalFileSystem())


@lru_cache(maxsize=64)
def _locate_remote(url: str) -> Location:
    scheme = url.partition("://")[0]
    try:
        if scheme == "s3":
            return Location(url, *_s3(url))
        if scheme in ("gs", "gcs", "abfs", "abfss", "hdfs"):
            return Location(url, *reversed(pafs.FileSystem.from_uri(url)))
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise FatalError(
            f"{url}: nothing here reads {scheme}:// ({reason(error)}); install its fsspec package"
        ) from None
    except OSError as error:
        raise FatalError(f"{url}: cannot be reached ({reason(error)}); check the address and the credentials") from None
    return Location(url, path, pafs.PyFileSystem(pafs.FSSpecHandler(fs)))


def _s3(url: str) -> tuple[str, pafs.FileSystem]:
    """Region, endpoint and credentials are those of the environment, as for every AWS client."""
    fs, path = pafs.FileSystem.from_uri(url)  # finds the bucket's region
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    patient = pafs.S3FileSystem(
        region=fs.region,
        endpoint_override=endpoint,
        scheme=endpoint.partition("://")[0] if endpoint else None,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=10),  # the default 3 fail on three 503s in a row
        allow_delayed_open=True,  # a part is one PUT, not the three requests of an upload in pieces
    )
    return path, patient


def reason(error: Exception) -> str:
    """Give what a storage error says, in one line; it names files and never their content."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def find_files(patterns: str | Sequence[str], setting: str = "input.path") -> list[FileInfo]:
    """Find the Parquet files that a file, a directory, a glob, or a list of them names.

    In a directory, and below it, every file counts except those with a name, or in a directory with a name, that
    begins with `_` or `.`; `**` in a glob stands for any number of directories.

    Args:
        patterns: what to find.
        setting: where a person wrote them, for errors.

    Returns:
        Each file once, ordered by URL.

    Raises:
        FatalError: a pattern names nothing.
    """
    found: dict[str, FileInfo] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            files = _expand(pattern)
        except (OSError, ValueError) as error:
            raise FatalError(f"{pattern}: cannot be listed ({reason(error)}); correct {setting}") from None
        if not files:
            what = "no file matches" if _MAGIC.search(pattern) else "no such file or directory"
            if locate(pattern).exists():
                what = "the directory holds no data files"
            raise FatalError(f"{pattern}: {what}; correct {setting}")
        found |= {file.url: file for file in files}
    return [found[url] for url in sorted(found)]


def file_info(url: str) -> FileInfo:
    """Look at one file now.

    Raises:
        FileNotFoundError: it is gone.
    """
    location = locate(url)
    info = location.fs.get_file_info(location.path)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(url)
    return FileInfo(url, info.size, info.mtime_ns or 0)


def _expand(pattern: str) -> list[FileInfo]:
    location = locate(pattern)
    if location.is_file():
        return [file_info(location.url)]
    if not _MAGIC.search(pattern) or location.exists():  # a name may hold a glob's characters, also within a glob
        return [file for file in location.list(recursive=True) if not _hidden(file.url, location.url)]
    parts = pattern.split("/")
    plain = 0
    while not _MAGIC.search(parts[plain]) or locate("/".join(parts[: plain + 1])).exists():
        plain += 1
    folder = locate("/".join(parts[:plain]) + "/" if plain else ".")
    matches = re.compile(glob_translate("/".join(parts[plain:]))).match
    inner = len(folder.url.rstrip("/")) + 1
    files = folder.list(recursive=True)
    return [file for file in files if matches(file.url[inner:]) and not _hidden(file.url, folder.url)]


def _hidden(url: str, below: str) -> bool:
    return any(part.startswith(("_", ".")) for part in url[len(below) :].strip("/").split("/"))


def _file_info(folder: Location, info: pafs.FileInfo) -> FileInfo:
    inner = info.path[len(folder.path.rstrip("/")) :].lstrip("/")
    return FileInfo(f"{folder.url.rstrip('/')}/{inner}", info.size, info.mtime_ns or 0)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
