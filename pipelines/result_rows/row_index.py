"""The rows of many Parquet files as one numbered sequence, and an index that finds them by id."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from pandas.util import hash_array

from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.output import part_name
from pipelines.rows import id_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

ReadT = TypeVar("ReadT")

_CACHE_BYTES = 2**28  # of cached files; at least one file is cached
# Bytes of files that are read together. If the other output has another order, each batch reads all of its files.
_BATCH_BYTES = 2**27
_COMPUTE_AGAIN = "run the job again to compute it again"


class FileRows(NamedTuple):
    """The wanted rows that one file contains.

    Attributes:
        file: the file's index.
        wanted: [n], indices of these rows among the wanted rows.
        rows: [n], their row numbers within the file.
    """

    file: int
    wanted: NDArray[np.int64]
    rows: NDArray[np.int64]


class NumberedRows:
    """The rows of files, numbered from 0 across all files. Recently read files are cached.

    Args:
        folder: the directory of the files.
        shards: their shards, in the order in which the rows are numbered.
        num_rows: number of rows of each file, as in the ledger.
        id_columns: the columns that together identify a row.
        columns: further columns to read.
    """

    def __init__(
        self,
        folder: Location,
        shards: pa.ChunkedArray,
        num_rows: NDArray[np.int64],
        id_columns: Sequence[str],
        columns: Sequence[str] = (),
    ):
        self._folder, self._shards = folder, shards.combine_chunks()
        self.num_files, self.id_columns, self.columns = len(shards), list(id_columns), list(columns)
        self.file_offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(num_rows, dtype=np.int64)])
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self.file_offsets[-1])

    def read(self, file: int, columns: list[str] | None = None) -> pa.Table:
        """Read a file.

        Args:
            file: the file's index.
            columns: the columns to read, by default the ids and `columns`.

        Raises:
            FatalError: the file is missing or damaged, or its row count differs from the ledger.
        """
        names = list(dict.fromkeys(columns or [*self.id_columns, *self.columns]))
        table = self._open(file, lambda source: pq.read_table(source, columns=names))
        expected = int(self.file_offsets[file + 1] - self.file_offsets[file])
        if len(table) != expected:
            raise FatalError(
                f"{self._locate(file).url}: has {format_count(len(table), 'row')}, expected {expected:,} as in "
                f"the ledger; delete it, and {_COMPUTE_AGAIN}"
            )
        return table

    def schema(self) -> pa.Schema:
        """Read the schema of the first file."""
        return self._open(0, pq.read_schema)

    def _locate(self, file: int) -> Location:
        return self._folder / part_name(self._shards[file].as_py())

    def _open(self, file: int, read: Callable[[pa.NativeFile], ReadT]) -> ReadT:
        location = self._locate(file)

        def attempt() -> ReadT:
            with location.fs.open_input_file(location.path) as source:
                return read(source)

        try:
            return location.with_retries(attempt)
        except FileNotFoundError:
            raise FatalError(f"{location.url}: missing, although the ledger has it; {_COMPUTE_AGAIN}") from None
        except pa.ArrowException:
            raise FatalError(f"{location.url}: damaged; delete it, and {_COMPUTE_AGAIN}") from None

    def table(self, file: int) -> pa.Table:
        """Return the columns of a file, from the cache if they are there."""
        table = self._cache.pop(file, None)
        if table is None:
            table = self.read(file)
        self._cache[file] = table
        while len(self._cache) > 1 and sum(cached.nbytes for cached in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return table

    def batches(self) -> Iterator[tuple[int, pa.Table]]:
        """Read all rows in order, several files at once; yields the number of a table's first row, and the table."""
        first, tables = 0, list[pa.Table]()
        for file in range(self.num_files):
            tables.append(self.read(file))
            if file == self.num_files - 1 or sum(table.nbytes for table in tables) >= _BATCH_BYTES:
                yield first, pa.concat_tables(tables).combine_chunks()
                first, tables = int(self.file_offsets[file + 1]), []

    def split_by_file(self, rows: NDArray[np.int64]) -> Iterator[FileRows]:
        """Group row numbers by the file that contains the row."""
        files = np.searchsorted(self.file_offsets, rows, side="right") - 1
        order = np.argsort(files, kind="stable")
        for wanted in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            if len(wanted):
                file = int(files[wanted[0]])
                yield FileRows(file, wanted, rows[wanted] - self.file_offsets[file])

    def take(self, rows: NDArray[np.int64], column: str | None = None) -> pa.Array:
        """Gather a column of some rows, by default their ids, in the order of the given row numbers."""
        by_file = list(self.split_by_file(rows))
        if not by_file:
            return pa.array([], pa.large_string())
        found: list[pa.Array] = []
        for some in by_file:
            table = self.table(some.file)
            values = self.ids(table) if column is None else to_array(table[column])
            found.append(values.take(pa.array(some.rows)))
        order = np.argsort(np.concatenate([some.wanted for some in by_file]))
        return pa.concat_arrays(found).take(pa.array(order))

    def ids(self, table: pa.Table) -> pa.Array:
        """Return what identifies each row of a table as `large_string`, whatever the types of the id columns."""
        return join_ids(table, self.id_columns)


class RowIndex:
    """Finds rows by id. It uses 16 bytes per row, and compares the ids themselves where hashes are equal.

    Attributes:
        repeats: the sorted numbers of rows whose id an earlier row has.
    """

    def __init__(self, rows: NumberedRows):
        self._rows = rows
        hashes = np.empty(len(rows), np.uint64)
        for file, (start, end) in enumerate(zip(rows.file_offsets[:-1], rows.file_offsets[1:], strict=True)):
            hashes[start:end] = hash_ids(rows.ids(rows.read(file, rows.id_columns)))
        self._numbers = np.argsort(hashes, kind="stable")  # stable, so that the first of several rows is found first
        self._hashes = hashes[self._numbers]
        self.repeats = self._find_repeats()

    def find(self, ids: pa.Array) -> NDArray[np.int64]:
        """Find rows by id.

        Args:
            ids: ids as `NumberedRows.ids` returns them; a null matches no row.

        Returns:
            [n], the number of the first row with each id; -1 if there is none.
        """
        found = np.full(len(ids), -1, np.int64)
        hashes, num_rows = hash_ids(ids), len(self._hashes)
        position = np.searchsorted(self._hashes, hashes)
        left = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
        while True:
            left = left[position[left] < num_rows]
            left = left[self._hashes[position[left]] == hashes[left]]
            if not len(left):
                return found
            rows = self._numbers[position[left]]
            equal = pc.equal(self._rows.take(rows), ids.take(pa.array(left))).fill_null(False)
            is_same = equal.to_numpy(zero_copy_only=False)
            found[left[is_same]] = rows[is_same]
            left = left[~is_same]
            position[left] += 1

    def _find_repeats(self) -> NDArray[np.int64]:
        has_equal_hash = self._hashes[1:] == self._hashes[:-1]
        suspects = np.sort(self._numbers[1:][has_equal_hash])
        return suspects[self.find(self._rows.take(suspects)) != suspects]


def join_ids(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Join the columns that identify a row into one text; null if one of them is null."""
    parts = [id_texts(to_array(table[name])) for name in columns]
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, pa.scalar("\n", pa.large_string()))


def to_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it has one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def hash_ids(ids: pa.Array) -> NDArray[np.uint64]:
    """Return a hash of each id, which depends on the id alone."""
    values = ids.to_numpy(zero_copy_only=False)
    return hash_array(values, categorize=False)  # pyright: ignore[reportCallIssue]  (pandas loads it by name)
