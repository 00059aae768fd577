"""The ledger: one record for every shard whose part is written. What it does not name is not done."""

from __future__ import annotations

import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.storage import parquet_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.storage import Location

SHARD_COUNTS = (
    "rows_read",
    "rows_in",
    "rows_out",
    "rows_rejected",
    "rows_truncated",
    "tokens",
    "bytes",
    "oom_halvings",
)
LANG_COUNTS = ("rows", "tokens", "truncated", "unknown")  # the last three in tokens
UNKNOWN_LANG = "und"  # what rows are counted under whose language the checkpoint lacks; ISO 639's undetermined
_LANG = pa.struct([("lang", pa.string()), *((name, pa.int64()) for name in LANG_COUNTS)])

# The form of what `shard_id` gives. An id becomes the name of a file, so one of another form is none.
SHARD_ID = re.compile(r"[0-9a-f]{16}-[0-9]{1,18}-[0-9]{1,18}")

_READ_THREADS = 16  # a long run leaves thousands of small files, and reading one is mostly waiting

RECORD = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("part", pa.string()),
        pa.field("file", pa.string()),
        *(pa.field(name, pa.int64()) for name in SHARD_COUNTS),
        pa.field("digest", pa.string()),  # SHA-256 of the part's bytes, in hex
        # of the file of rejected rows; null where there is none
        pa.field("rejected_bytes", pa.int64()),
        pa.field("rejected_digest", pa.string()),
        pa.field("reasons", pa.map_(pa.string(), pa.int64())),  # rejected rows by reason
        pa.field("langs", pa.list_(_LANG)),  # of written rows, by language code as it stands in the data
        pa.field("ids_digest", pa.string()),
        pa.field("precision", pa.string()),  # that the trunk ran in
        *(pa.field(name, pa.float64()) for name in ("read_s", "tokenize_s", "infer_s", "write_s")),
    ]
)


def part_name(shard: str) -> str:
    """Name a shard's part: the name follows from the shard, so writing it again replaces it."""
    return f"part-{shard}.parquet"


class Ledger:
    """Records of committed shards, appended in batches, each batch a file of its own.

    Args:
        folder: `OUT/_xlm/ledger`.
    """

    def __init__(self, folder: Location):
        self._folder = folder

    def load(self) -> dict[str, dict[str, Any]]:
        """Read all records, by shard; of a shard committed twice the later record holds.

        Raises:
            FatalError: a file of the ledger is damaged.
        """
        return {record["shard"]: record for record in self.history()}

    def history(self) -> list[dict[str, Any]]:
        """Read all records that were ever appended and not replaced, the earliest first.

        Raises:
            FatalError: a file of the ledger is damaged.
        """
        with ThreadPoolExecutor(_READ_THREADS) as pool:
            return [record for records in pool.map(_read, self._files()) for record in records]

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Commit shards whose parts are written; when this returns, they are done for good."""
        if not records:
            return
        data = parquet_bytes(pa.Table.from_pylist(list(records), RECORD))
        # names sort by time, so that later records hold; the rest of the name keeps two of one moment apart
        (self._folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.parquet").put(data)

    def replace(self, records: Sequence[dict[str, Any]]) -> None:
        """Rewrite the ledger to hold these records only; parts of the others must be gone already."""
        old = self._files()
        self.append(records)
        for location in old:
            location.delete()

    def _files(self) -> list[Location]:
        names = [file.name for file in self._folder.list()]
        return [self._folder / name for name in names if name.endswith(".parquet") and not name.startswith(".")]


def _read(location: Location) -> list[dict[str, Any]]:
    try:
        table = location.read_table().select(RECORD.names).cast(RECORD)
        records = table.to_pylist(maps_as_pydicts="strict")
    except (KeyError, ValueError, pa.ArrowException):  # of other columns, of no UTF-8, of no Parquet
        records = [{}]
    if not all(_is_sound(record) for record in records):
        raise FatalError(
            f"{location.url}: a damaged file of the ledger; delete it, and the run computes its shards again"
        )
    return records


def _is_sound(record: dict[str, Any]) -> bool:
    """Whether a record can be one that was appended; above all, whether what becomes a file's name is one."""
    shard = record.get("shard")
    if shard is None or not SHARD_ID.fullmatch(shard) or record["part"] != part_name(shard):
        return False
    return all(record[name] is not None and record[name] >= 0 for name in SHARD_COUNTS)
