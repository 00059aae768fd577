"""Rows of many Parquet files as one numbered sequence, and where in it a row with a given id stands."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from pandas.util import hash_array

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are made when it loads, and no checker knows them

Read = TypeVar("Read")

_CACHE_BYTES = 2**28  # of files that are held; one is held in any case
_BATCH_BYTES = (
    2**27
)  # of files that are read at once: where another output has another order, each file of it meets all
_ANEW = "run the job again to write it anew"


class Piece(NamedTuple):
    """Those of some wanted rows that lie in one file.

    Attributes:
        file: its number.
        wanted: [n], which of the wanted rows they are.
        rows: [n], their numbers within the file.
    """

    file: int
    wanted: NDArray[np.int64]
    rows: NDArray[np.int64]


class NumberedRows:
    """The rows of files, numbered from 0 through all of them; files read lately are held.

    Args:
        files: in the order in which their rows count.
        num_rows: of each file, as the ledger has it.
        id_columns: what identifies a row: one column, or several together.
        columns: what is read besides.
    """

    def __init__(
        self, files: Sequence[Location], num_rows: Sequence[int], id_columns: Sequence[str], columns: Sequence[str] = ()
    ):
        self.files, self.id_columns, self.columns = list(files), list(id_columns), list(columns)
        self.borders: NDArray[np.int64] = np.concatenate([[0], np.cumsum(num_rows, dtype=np.int64)])
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self.borders[-1])

    def read(self, file: int, columns: list[str] | None = None) -> pa.Table:
        """Read a file.

        Args:
            file: its number.
            columns: what to read, by default the ids and `columns`.

        Raises:
            FatalError: it is gone, or not as the ledger has it.
        """
        wanted = list(dict.fromkeys(columns or [*self.id_columns, *self.columns]))
        table = self._open(file, lambda source: pq.read_table(source, columns=wanted))
        expected = int(self.borders[file + 1] - self.borders[file])
        if len(table) != expected:
            url = self.files[file].url
            raise FatalError(f"{url}: has {len(table):,} rows, but {expected:,} in the ledger; delete it, and {_ANEW}")
        return table

    def schema(self) -> pa.Schema:
        """Read the schema of the first file."""
        return self._open(0, pq.read_schema)

    def _open(self, file: int, read: Callable[[pa.NativeFile], Read]) -> Read:
        location = self.files[file]

        def attempt() -> Read:
            with location.fs.open_input_file(location.path) as source:
                return read(source)

        try:
            return location.persistently(attempt)
        except FileNotFoundError:
            raise FatalError(f"{location.url}: gone, though the ledger has it; {_ANEW}") from None
        except pa.ArrowException:
            raise FatalError(f"{location.url}: damaged; delete it, and {_ANEW}") from None

    def table(self, file: int) -> pa.Table:
        """Give all columns of a file, which may still be held."""
        table = self._held.pop(file, None)
        if table is None:
            table = self.read(file)
        self._held[file] = table
        while len(self._held) > 1 and sum(held.nbytes for held in self._held.values()) > _CACHE_BYTES:
            self._held.popitem(last=False)
        return table

    def batches(self) -> Iterator[tuple[int, pa.Table]]:
        """Read all rows in their order, several files at once; before each table stands its first row's number."""
        first, tables = 0, list[pa.Table]()
        for file in range(len(self.files)):
            tables.append(self.read(file))
            if file == len(self.files) - 1 or sum(table.nbytes for table in tables) >= _BATCH_BYTES:
                yield first, pa.concat_tables(tables).combine_chunks()
                first, tables = int(self.borders[file + 1]), []

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Piece]:
        """Sort rows, told by their numbers, by the file in which they are."""
        files = np.searchsorted(self.borders, rows, side="right") - 1
        order = np.argsort(files, kind="stable")
        for wanted in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            if len(wanted):
                file = int(files[wanted[0]])
                yield Piece(file, wanted, rows[wanted] - self.borders[file])

    def take(self, rows: NDArray[np.int64], column: str | None = None) -> pa.Array:
        """Gather a column of rows, by default their ids, in the order in which the rows are told."""
        pieces = list(self.pieces(rows))
        if not pieces:
            return pa.array([], pa.large_string())
        found = [
            (self.ids(self.table(piece.file)) if column is None else to_array(self.table(piece.file)[column])).take(
                pa.array(piece.rows)
            )
            for piece in pieces
        ]
        back = np.argsort(np.concatenate([piece.wanted for piece in pieces]))
        return pa.concat_arrays(found).take(pa.array(back))

    def ids(self, table: pa.Table) -> pa.Array:
        """Give what identifies each row of a table as text, `large_string`, so that types do not matter."""
        return as_ids(table, self.id_columns)


class RowIndex:
    """Finds rows by their ids: 16 bytes a row, and ids are compared, not only their hashes."""

    def __init__(self, rows: NumberedRows):
        self._rows = rows
        hashes = np.empty(len(rows), np.uint64)
        for file, (start, end) in enumerate(zip(rows.borders[:-1], rows.borders[1:], strict=True)):
            hashes[start:end] = _hash(rows.ids(rows.read(file, rows.id_columns)))
        self._numbers = np.argsort(hashes, kind="stable")  # of rows with one id the first is found first
        self._hashes = hashes[self._numbers]
        self.repeats = self._find_repeats()

    def find(self, ids: pa.Array) -> NDArray[np.int64]:
        """Find rows.

        Args:
            ids: as `NumberedRows.ids` gives them; a null is no row's.

        Returns:
            [n], the number of the first row with each id, -1 where there is none.
        """
        found = np.full(len(ids), -1, np.int64)
        hashes, size = _hash(ids), len(self._hashes)
        place = np.searchsorted(self._hashes, hashes)
        left = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
        while True:
            left = left[place[left] < size]
            left = left[self._hashes[place[left]] == hashes[left]]
            if not len(left):
                return found
            rows = self._numbers[place[left]]
            equal = pc.equal(self._rows.take(rows), ids.take(pa.array(left))).fill_null(False)
            is_same = equal.to_numpy(zero_copy_only=False)
            found[left[is_same]] = rows[is_same]
            left = left[~is_same]
            place[left] += 1

    def _find_repeats(self) -> NDArray[np.int64]:
        """Find the rows that have the id of an earlier one: sorted numbers."""
        alike = self._hashes[1:] == self._hashes[:-1]
        suspects = np.sort(self._numbers[1:][alike])
        return suspects[self.find(self._rows.take(suspects)) != suspects]


def as_ids(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Make one text of the columns that identify a row; it is null where one of them is."""
    parts = [to_array(table[name]).cast(pa.large_string()) for name in columns]
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, pa.scalar("\n", pa.large_string()))


def to_array(column: pa.ChunkedArray) -> pa.Array:
    """Give a column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _hash(ids: pa.Array) -> NDArray[np.uint64]:
    values = ids.to_numpy(zero_copy_only=False)
    return hash_array(values, categorize=False)  # pyright: ignore[reportCallIssue]  (pandas loads it by name)
