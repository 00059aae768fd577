"""The ledger: the records of all committed shards. A shard without a record is not done."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.output.layout import ledger_file_name
from pipelines.output.shard_record import RECORD, ShardRecord
from pipelines.storage import encode_parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage import Location

_READ_THREADS = 16  # a long run leaves thousands of small files, and reading one is mostly waiting


class Commit(NamedTuple):
    """Records that were appended together.

    Attributes:
        time_s: when, in seconds since the epoch, by the clock of the run that appended them.
        records: the records. Those of earlier runs get a new time when a run deletes stale parts.
    """

    time_s: float
    records: list[ShardRecord]


class Ledger:
    """Records of committed shards. Each append writes a batch of records as a file of its own.

    Attributes:
        folder: `OUT/_xlm/ledger`.
    """

    def __init__(self, folder: Location):
        self.folder = folder

    def load(self) -> dict[str, ShardRecord]:
        """Read the current record of each shard; if a shard was committed twice, the later record is current.

        Raises:
            FatalError: a ledger file is damaged.
        """
        return {record.shard: record for record in self.history()}

    def history(self) -> list[ShardRecord]:
        """Read all records that were appended and not replaced, the earliest first.

        Raises:
            FatalError: a ledger file is damaged.
        """
        return [record for commit in self.commits() for record in commit.records]

    def commits(self) -> list[Commit]:
        """Read all records that were appended and not replaced, by the time of their commit, the earliest first.

        Raises:
            FatalError: a ledger file is damaged.
        """
        files = self._files()
        with ThreadPoolExecutor(_READ_THREADS) as pool:
            return [Commit(*commit) for commit in zip(map(_commit_time_s, files), pool.map(_read, files), strict=True)]

    def append(self, records: Sequence[ShardRecord]) -> None:
        """Commit shards whose parts are written. The commit is durable when this returns."""
        if not records:
            return
        data = encode_parquet(pa.Table.from_pylist([record.to_row() for record in records], RECORD))
        (self.folder / ledger_file_name(time.time_ns(), secrets.token_hex(4))).put(data)

    def replace(self, records: Sequence[ShardRecord]) -> None:
        """Rewrite the ledger to contain only these records. The parts of all others must already be removed."""
        old = self._files()
        self.append(records)
        for location in old:
            location.delete()

    def _files(self) -> list[Location]:
        names = [file.name for file in self.folder.list()]
        return [self.folder / name for name in names if name.endswith(".parquet") and not name.startswith(".")]


def _commit_time_s(location: Location) -> float:
    time_ns = location.name.partition("-")[0]
    return int(time_ns) / 1e9 if time_ns.isdecimal() else 0.0


def _read(location: Location) -> list[ShardRecord]:
    try:
        table = location.read_table().select(RECORD.names).cast(RECORD)
        return [ShardRecord.from_row(row) for row in table.to_pylist(maps_as_pydicts="strict")]
    except (KeyError, ValueError, pa.ArrowException):  # other columns, text that is not UTF-8, or not Parquet
        raise FatalError(
            f"{location.url}: a damaged ledger file; delete it, and the next run computes its shards again"
        ) from None
