"""Compare two outputs by id: which rows each has, and how far apart the results are of those that both have.

The rows of B are found by an index over the whole output, so the two may have other shards, in another order. Then A is
read from its first part to its last, and B's parts as they are needed. Held at a time: 17 bytes for each row of both
outputs (26 while an index is made), 4 for each pair of vectors, and in parts of A and B some hundred megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.diff.compare_columns import comparison
from pipelines.diff.counts import RowCounts, Tally, by_group
from pipelines.diff.loaded_output import LoadedOutput
from pipelines.diff.row_index import to_array
from pipelines.errors import FatalError
from pipelines.output.directory import find_differences
from pipelines.rows.shard_stats import UNKNOWN_LANG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipelines.diff.compare_columns import Comparison
    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are made when it loads, and no checker knows them


@dataclass(frozen=True)
class ColumnDiff:
    """A column of results that both outputs have.

    Attributes:
        name: its name.
        type_a, type_b: its types.
        comparison: how it is compared; None where the two types have no measure.
        langs: what was counted, by language; empty without a comparison, or if there are no common rows.
    """

    name: str
    type_a: pa.DataType
    type_b: pa.DataType
    comparison: Comparison | None
    langs: dict[str, Tally]

    @cached_property
    def total(self) -> Tally:
        """What was counted in all rows."""
        return sum(self.langs.values(), Tally())


@dataclass(frozen=True)
class OutputDiff:
    """All that is to say of two outputs.

    Attributes:
        a, b: the outputs.
        settings: names of what differs in the two jobs, of all that results depend on.
        no_langs: why rows are not told apart by language; None if they are.
        langs: which rows there are, by language, the most frequent one first; "all" alone where there is `no_langs`.
        columns: the results that both have.
        only_a, only_b: columns that one has.
    """

    a: LoadedOutput
    b: LoadedOutput
    settings: list[str]
    no_langs: str | None
    langs: dict[str, RowCounts]
    columns: list[ColumnDiff]
    only_a: list[str]
    only_b: list[str]

    @cached_property
    def total(self) -> RowCounts:
        """Which rows there are in all."""
        return sum(self.langs.values(), RowCounts())


def compare_outputs(a: Location, b: Location) -> OutputDiff:
    """Compare two outputs.

    Raises:
        FatalError: one is no output, has no results yet or is damaged; or the two identify rows in different ways.
    """
    side_a, side_b = LoadedOutput(a), LoadedOutput(b)
    if side_a.id_columns != side_b.id_columns:
        ways = (" and ".join(side.id_columns) for side in (side_a, side_b))
        raise FatalError(
            "{} and {}: rows are identified by {} there and by {} here, so none can be found again; run both jobs with "
            "one input.id".format(side_a.url, side_b.url, *ways)
        )
    return _Walk(side_a, side_b).result()


class _Walk:
    """The way through all rows; what it meets is counted in `rows` and, for each column, `tallies`, by language."""

    def __init__(self, a: LoadedOutput, b: LoadedOutput):
        self.a, self.b = a, b
        self.no_langs = a.no_langs or b.no_langs
        known = sorted((a.known_langs | b.known_langs) - {UNKNOWN_LANG})
        self.langs = ["all"] if self.no_langs else [*known, UNKNOWN_LANG]
        self.rows = [RowCounts() for _ in self.langs]
        common = [name for name in a.results if name in b.results]
        self.comparisons = {name: comparison(a.schema.field(name), b.schema.field(name)) for name in common}
        self.tallies = {name: [Tally() for _ in self.langs] for name in common}
        for side in (a, b):
            needed = [name for name, way in self.comparisons.items() if way]
            side.rows.columns = [*needed, *([side.lang_column] if side.lang_column else [])]
        self.is_found = np.zeros(len(b.rows), np.bool_)  # of B's rows, those that A has too

    def result(self) -> OutputDiff:
        for first, table in self.a.rows.batches():
            self._rows_of_a(first, table)
        for file in range(len(self.b.rows.files)):
            self._rest_of_b(file)
        order = sorted(range(len(self.langs)), key=lambda i: (-_size(self.rows[i]), self.langs[i]))
        order = [i for i in order if _size(self.rows[i])]
        a, b = self.a.schema, self.b.schema
        return OutputDiff(
            a=self.a,
            b=self.b,
            settings=[path for path, _, _ in find_differences(self.a.fingerprint, self.b.fingerprint)],
            no_langs=self.no_langs,
            langs={self.langs[i]: self.rows[i] for i in order},
            columns=[
                ColumnDiff(
                    name,
                    a.field(name).type,
                    b.field(name).type,
                    way,
                    {self.langs[i]: self.tallies[name][i] for i in order if self.tallies[name][i].rows},
                )
                for name, way in self.comparisons.items()
            ],
            only_a=[name for name in a.names if name not in b.names],
            only_b=[name for name in b.names if name not in a.names],
        )

    def _rows_of_a(self, first: int, table: pa.Table) -> None:
        ids, groups = self.a.rows.ids(table), self._groups(self.a, table)
        is_first = self.a.is_first(first, first + len(table))
        found = self.b.index.find(ids)
        for group, reason, count in self._only(ids, groups, np.flatnonzero(is_first & (found < 0)), self.b):
            self.rows[group].only_a += count
            if reason is not None:
                self.rows[group].rejected_in_b[reason] += count
        both = np.flatnonzero(is_first & (found >= 0))
        self.is_found[found[both]] = True
        for piece in self.b.rows.pieces(found[both]):
            mine = both[piece.wanted]
            parts = list(by_group(groups[mine]))
            for group, chosen in parts:
                self.rows[group].both += len(chosen)
            table_b, mine_ids = self.b.rows.table(piece.file), ids.take(pa.array(mine))
            for name, way in self.comparisons.items():
                if way is None:
                    continue
                sides = ((table, mine), (table_b, piece.rows))
                measured = way.measure(*(to_array(side[name]).take(pa.array(rows)) for side, rows in sides))
                for group, chosen in parts:
                    self.tallies[name][group].add(measured, mine_ids, chosen)

    def _rest_of_b(self, file: int) -> None:
        start, end = self.b.rows.borders[file : file + 2].tolist()
        left = np.flatnonzero(self.b.is_first(start, end) & ~self.is_found[start:end])
        if not len(left):
            return
        columns = [*self.b.id_columns, *([self.b.lang_column] if self.b.lang_column else [])]
        table = self.b.rows.read(file, columns)
        for group, reason, count in self._only(self.b.rows.ids(table), self._groups(self.b, table), left, self.a):
            self.rows[group].only_b += count
            if reason is not None:
                self.rows[group].rejected_in_a[reason] += count

    def _only(
        self, ids: pa.Array, groups: NDArray[np.int64], rows: NDArray[np.int64], other: LoadedOutput
    ) -> Iterator[tuple[int, str | None, int]]:
        """Count rows that the other output lacks, by language and by why it rejected them, if it did."""
        if not len(rows):
            return
        reasons = pa.array(other.reasons(ids.take(pa.array(rows))), pa.string())
        table = pa.table({"group": groups[rows], "reason": reasons}).group_by(["group", "reason"])
        for row in table.aggregate([([], "count_all")]).to_pylist():
            yield row["group"], row["reason"], row["count_all"]

    def _groups(self, side: LoadedOutput, table: pa.Table) -> NDArray[np.int64]:
        """Give the number of each row's language; a code that no ledger has is one that the checkpoint lacks."""
        if self.no_langs:
            return np.zeros(len(table), np.int64)
        found = pc.index_in(side.langs(table), value_set=pa.array(self.langs))
        return found.fill_null(len(self.langs) - 1).to_numpy(zero_copy_only=False).astype(np.int64)


def _size(counts: RowCounts) -> int:
    return counts.both + counts.only_a + counts.only_b
