"""The identities of files: one as a tuple, and those of a listing as a table, in which a million take 100 MB."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The columns of a table of files; the attributes of `FileInfo`.
FILES = pa.schema([("url", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("etag", pa.string())])

_FILES_AT_ONCE = 4_096  # that are Python objects


class FileInfo(NamedTuple):
    """The identity of a version of a file: its URL, size, and what changes when it is written again.

    Attributes:
        url: the file's URL.
        size: its size in bytes.
        mtime_ns: when it was modified; 0 if the store does not return a time.
        etag: if there is no such time, the file's ETag or what else the store returns; empty if it returns nothing.
    """

    url: str
    size: int
    mtime_ns: int
    etag: str = ""

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rpartition("/")[2]


def file_table(files: Iterable[FileInfo]) -> pa.Table:
    """Return a table with the columns `FILES`."""
    files, batches = iter(files), list[pa.RecordBatch]()
    while some := list(islice(files, _FILES_AT_ONCE)):
        columns = [pa.array(column, kind) for column, kind in zip(zip(*some, strict=True), FILES.types, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=FILES))
    return pa.Table.from_batches(batches, FILES).combine_chunks()


def file_infos(files: pa.Table) -> Iterator[FileInfo]:
    """Yield the rows of a table with the columns `FILES`, some of them as Python objects at once."""
    for first in range(0, len(files), _FILES_AT_ONCE):
        some = files.slice(first, _FILES_AT_ONCE)
        yield from map(FileInfo, *(some[name].to_pylist() for name in FILES.names))
