"""Append records to the ledger, load them, and keep the number of its files small."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from pipelines.output.layout import ledger_file_name
from pipelines.output.ledger.files import LEDGER_FILE, ReplacedError, encode_files, to_table
from pipelines.output.ledger.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.output.shard_record import ShardRecord
    from pipelines.storage import Location

ValueT = TypeVar("ValueT")

# A commit writes a file, so a long run would leave tens of thousands. Small files are merged when there are too many.
_MAX_SMALL_FILES = 100
_BIG_FILE_BYTES = 4 * 2**20  # 7,000 to 30,000 records

# A run merges files once in minutes, and replaces the ledger only when it begins.
_ATTEMPTS = 3


class Ledger:
    """Records of committed shards. Only the holder of the output's lock may write to it.

    A file is written before the files that it replaces are deleted. A run that is killed in between leaves copies of
    records, which are ignored.

    Attributes:
        folder: `OUT/_xlm/ledger`.
    """

    def __init__(self, folder: Location):
        self.folder = folder
        self._num_small: int | None = None  # files; not known before the first append

    def load(self) -> Records:
        """Load the current record of each shard; if a shard was committed twice, the later record is current.

        Raises:
            FatalError: a ledger file is damaged.
        """
        records = self.history().current()
        pa.default_memory_pool().release_unused()
        return records

    def history(self) -> Records:
        """Load all records that were appended and not replaced.

        Raises:
            FatalError: a ledger file is damaged.
        """
        return retry_if_replaced(lambda: Records.load([file for file, _ in self._files()]))

    def append(self, records: Sequence[ShardRecord]) -> None:
        """Commit shards whose parts are written. The commit is durable when this returns."""
        if not records:
            return
        self._write([to_table(records, time.time_ns())])
        self._num_small = self._count_small() if self._num_small is None else self._num_small + 1
        if self._num_small > _MAX_SMALL_FILES:
            self._rewrite([file for file, size in self._files() if size < _BIG_FILE_BYTES])
            self._num_small = self._count_small()

    def replace(self, records: Sequence[ShardRecord], kept: Records | None = None) -> None:
        """Rewrite the ledger. The parts of all records that it loses must already be removed.

        Args:
            records: new records, as for `append`.
            kept: records that are kept, with the times of their commits; none by default.
        """
        old = [file for file, _ in self._files()]
        tables = (rows for _, rows in kept.batches(LEDGER_FILE.names)) if kept is not None else ()
        self._write(tables)
        self._write([to_table(records, time.time_ns())])
        for file in old:
            file.delete()
        self._num_small = None

    def _rewrite(self, files: Sequence[Location]) -> None:
        """Merge files into one, or into few big ones."""
        self._write(rows for _, rows in Records.load(files).batches(LEDGER_FILE.names))
        for file in files:
            file.delete()

    def _write(self, tables: Iterable[pa.Table]) -> None:
        for data in encode_files(tables, _BIG_FILE_BYTES):
            (self.folder / ledger_file_name(time.time_ns(), secrets.token_hex(4))).put(data)

    def _count_small(self) -> int:
        return sum(size < _BIG_FILE_BYTES for _, size in self._files())

    def _files(self) -> list[tuple[Location, int]]:
        """List the files and their sizes in bytes."""
        files = self.folder.list()
        return [
            (self.folder / file.name, file.size)
            for file in files
            if file.name.endswith(".parquet") and not file.name.startswith(".")
        ]


def retry_if_replaced(read: Callable[[], ValueT]) -> ValueT:
    """Call a function that reads the ledger, and call it again if a run replaced files while it read them."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except ReplacedError:
            continue
    return read()
