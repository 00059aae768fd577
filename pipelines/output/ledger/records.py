"""The records of many shards: flat columns in memory, and all columns in the files of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.output.ledger.files import (
    COMMITTED,
    LEDGER_FILE,
    damaged_file_error,
    list_langs,
    map_entries,
    read_ahead,
    read_rows,
    to_records,
)
from pipelines.output.ledger.totals import ADDED_UP, Totals, add_up
from pipelines.output.shard_record import RECORD, ShardRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# These take 120 bytes per record; all columns take up to 3 kB.
_COUNTS = ("rows_read", "rows_in", "rows_out", "rows_rejected", "tokens", "bytes", "rejected_bytes")
_FILE, _ROW = "ledger_file", "ledger_row"  # where the record is: the number of its file, and its row there
_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        *((name, pa.int64()) for name in (*_COUNTS, COMMITTED)),
        ("precision", pa.dictionary(pa.int32(), pa.string())),
        (_FILE, pa.int32()),
        (_ROW, pa.int32()),
    ]
)

# Records that are Python objects at once, 15 MB of them, with and without counts by language.
_RECORDS_AT_ONCE, _SMALL_RECORDS_AT_ONCE = 1_000, 10_000


class Records:
    """Records of committed shards, ordered by the time of their commit.

    Iteration reads the records from the ledger's files again, a batch at a time. It raises ReplacedError if a run has
    replaced the files since; see `retry_if_replaced`.

    Args:
        files: the files of the ledger.
        table: a row for each record, with the columns that are kept in memory.
    """

    def __init__(self, files: Sequence[Location], table: pa.Table):
        self._files, self._table = files, table

    @classmethod
    def load(cls, files: Sequence[Location]) -> Records:
        """Load the records in some files, without copies that an interrupted rewrite of files left behind.

        Raises:
            FatalError: a file is damaged.
            ReplacedError: a file was deleted.
        """
        tables = [_SCHEMA.empty_table()]
        for number, (file, data) in enumerate(read_ahead(files)):
            for first, rows in read_rows(file, data, LEDGER_FILE.names):
                position = [pa.repeat(pa.scalar(number, pa.int32()), len(rows))]
                position.append(pa.array(np.arange(first, first + len(rows), dtype=np.int32)))
                columns = [*(rows[name] for name in _SCHEMA.names[:-2]), *position]
                tables.append(pa.table(columns, _SCHEMA.names).cast(_SCHEMA))
        table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        del tables
        records = cls(files, table)._ordered()
        pa.default_memory_pool().release_unused()  # of a million records, 300 MB after decoding and ordering them
        return records

    def _ordered(self) -> Records:
        """Order records by the time of their commit, and drop copies of records."""
        committed = self.column(COMMITTED)
        if (committed[1:] < committed[:-1]).any():
            return self.take(np.argsort(committed, kind="stable"))._ordered()
        shards = self._shard_codes()
        order = np.lexsort((committed, shards))
        is_copied = (np.diff(shards[order]) == 0) & (np.diff(committed[order]) == 0)  # by the next one
        return self.take(np.sort(order[~np.append(is_copied, False)])) if is_copied.any() else self

    def current(self) -> Records:
        """Return the last record of each shard."""
        shards = self._shard_codes()
        last = np.zeros(shards.max(initial=-1) + 1, np.int64)
        last[shards] = np.arange(len(shards))  # of equal indices, the last one counts
        return self if len(last) == len(self) else self.take(np.sort(last))

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[ShardRecord]:
        return self._read(RECORD.names)

    def without_langs(self) -> Iterator[ShardRecord]:
        """Read the records without their counts by language, in a tenth of the time."""
        return self._read([name for name in RECORD.names if name != "langs"])

    def _read(self, columns: Sequence[str]) -> Iterator[ShardRecord]:
        at_once = _RECORDS_AT_ONCE if "langs" in columns else _SMALL_RECORDS_AT_ONCE
        for first in range(0, len(self), at_once):
            found: dict[int, ShardRecord] = {}
            for numbers, rows, file in self._slice(first, at_once)._batches(columns):
                with damaged_file_error(file):
                    found |= zip(numbers.tolist(), to_records(rows), strict=True)
            yield from (found[number] for number in range(len(found)))

    @property
    def shards(self) -> pa.ChunkedArray:
        """The ids of the shards."""
        return self._table["shard"]

    @property
    def precision(self) -> str | None:
        """The precision of the first record, which is that of all; None if there is no record."""
        return self._table["precision"][0].as_py() if len(self) else None

    def column(self, name: str) -> NDArray[np.int64]:
        """Return a count of each record, or the time of its commit; -1 for `rejected_bytes` that are null."""
        return self._table[name].fill_null(-1).to_numpy()

    def sum(self, name: str) -> int:
        """Add up a count of all records."""
        return int(self.column(name).sum())

    def filter(self, mask: NDArray[np.bool_]) -> Records:
        """Return the records that a mask selects."""
        return Records(self._files, self._table.filter(pa.array(mask)))

    def select(self, shards: pa.Array | pa.ChunkedArray) -> Records:
        """Return the records of some shards."""
        return Records(self._files, self._table.filter(pc.is_in(self.shards, value_set=shards)))

    def without(self, shards: Sequence[str]) -> Records:
        """Return the records of all shards but these."""
        return self.filter(~pc.is_in(self.shards, value_set=pa.array(shards, pa.string())).to_numpy())

    def take(self, numbers: Sequence[int] | NDArray[np.int64]) -> Records:
        """Return the records with these numbers, in this order."""
        return Records(self._files, self._table.take(pa.array(numbers, pa.int64())))

    def sorted_by_shard(self) -> Records:
        """Return the records ordered by the ids of their shards."""
        return Records(self._files, self._table.take(pc.sort_indices(self.shards)))

    def sorted_by_file(self) -> Records:
        """Return the records ordered by the URL of their input file, and then by the id of their shard."""
        if not len(self):
            return self
        numbers, rows = zip(*self.batches(["file"]), strict=True)
        files = pa.concat_tables(rows)["file"].take(pa.array(np.argsort(np.concatenate(numbers))))
        keys = [("file", "ascending"), ("shard", "ascending")]
        return self.take(pc.sort_indices(pa.table({"file": files, "shard": self.shards}), keys).to_numpy())

    def totals(self) -> Totals:
        """Add up all records."""
        return add_up(self.rows())

    def rows(self) -> Iterator[pa.Table]:
        """Read the columns that `add_up` takes, from one file after the other."""
        return (rows for _, rows in self.batches(ADDED_UP))

    def files(self) -> list[str]:
        """Return the URLs of the input files, in order."""
        found = set[str]()
        for _, rows in self.batches(["file"]):
            found.update(rows["file"].unique().to_pylist())
        return sorted(found)

    def segmenters(self) -> set[tuple[str, str]]:
        """Return the segmenters that rows were segmented by, as in `ShardRecord`."""
        found: set[tuple[str, str]] = set()
        for _, rows in self.batches(["segmenters"]):
            _, langs, segmenters = map_entries(rows["segmenters"])
            unique = pa.table({"lang": langs, "segmenter": segmenters}).group_by(["lang", "segmenter"]).aggregate([])
            found.update(zip(unique["lang"].to_pylist(), unique["segmenter"].to_pylist(), strict=True))
        return found

    def rejected_for(self, reasons: Collection[str]) -> NDArray[np.bool_]:
        """Return which records have rows that were rejected for one of these reasons."""
        found = np.zeros(len(self), np.bool_)
        rejected = np.flatnonzero(self.column("rows_rejected"))
        for numbers, rows in self.take(rejected).batches(["reasons"]) if reasons else ():
            entries, names, _ = map_entries(rows["reasons"])
            is_wanted = pc.is_in(names, value_set=pa.array([*reasons], pa.string())).to_numpy()
            found[rejected[numbers[entries[is_wanted]]]] = True
        return found

    def first_with(self, column: Literal["langs", "reasons"], limit: int = 1) -> dict[str, list[int]]:
        """Find records that have a language or a reason of rejected rows.

        Returns:
            For each language or reason, the numbers of the first records that have it, up to a limit.
        """
        found: dict[str, list[int]] = {}
        for numbers, rows in self.batches([column]):
            entries, names = list_langs(rows[column]) if column == "langs" else map_entries(rows[column])[:2]
            encoded = names.combine_chunks().dictionary_encode()
            codes, at = encoded.indices.to_numpy(), numbers[entries]
            order = np.lexsort((at, codes))
            bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
            for name, first, end in zip(encoded.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True):
                first_here = at[order[first : min(first + limit, end)]].tolist()
                found[name] = sorted({*found.get(name, ()), *first_here})[:limit]
        return found

    def batches(self, columns: Collection[str]) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Read columns of `LEDGER_FILE` from the files, in their order; yields numbers of records, and their rows.

        Raises:
            FatalError: a file is damaged.
            ReplacedError: a file was deleted.
        """
        for numbers, rows, _ in self._batches(columns):
            yield numbers, rows

    def _batches(self, columns: Collection[str]) -> Iterator[tuple[NDArray[np.int64], pa.Table, Location]]:
        files, rows = self.column(_FILE), self.column(_ROW)
        order = np.lexsort((rows, files))
        files, rows = files[order], rows[order]
        used = np.unique(files)
        for number, (file, data) in zip(used, read_ahead(self._files[i] for i in used), strict=True):
            start, end = np.searchsorted(files, [number, number + 1])
            for first, group in read_rows(file, data, list(columns), rows[start:end]):
                bounds = start + np.searchsorted(rows[start:end], [first, first + len(group)])
                chosen = slice(*bounds)
                selected = group if len(order[chosen]) == len(group) else group.take(pa.array(rows[chosen] - first))
                yield order[chosen], selected, file

    def _shard_codes(self) -> NDArray[np.int64]:
        """Return a number for each record, which is the same for records of the same shard."""
        return self.shards.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)

    def _slice(self, first: int, length: int) -> Records:
        return Records(self._files, self._table.slice(first, length))
