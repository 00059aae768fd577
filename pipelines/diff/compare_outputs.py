"""Compare two outputs by id: which rows each of them has, and how much the results of common rows differ.

The rows of B are found with an index over the whole output, so that the two may have different shards in any order. A
is read one part after another, and parts of B as they are needed. Memory use: 17 bytes per row of both outputs (26
while an index is built), 4 bytes per pair of vectors, and some hundred megabytes for parts of A and B.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.diff.compare_columns import choose_comparison
from pipelines.diff.counts import RowCounts, Tally, split_by_group
from pipelines.errors import FatalError
from pipelines.output import find_differences
from pipelines.result_rows import LoadedOutput, to_array
from pipelines.rows import UNKNOWN_LANG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipelines.results import Comparison
    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_ALL = "all"  # the only group if languages are unknown


@dataclass(frozen=True)
class ColumnDiff:
    """A column of results in both outputs.

    Attributes:
        name: its name.
        type_a, type_b: its types.
        comparison: how it is compared; None if the two types cannot be compared.
        langs: how much it differs, by language; empty without a comparison or without common rows.
    """

    name: str
    type_a: pa.DataType
    type_b: pa.DataType
    comparison: Comparison | None
    langs: dict[str, Tally]

    @cached_property
    def total(self) -> Tally:
        """How much it differs in all rows."""
        return sum(self.langs.values(), Tally())


@dataclass(frozen=True)
class OutputDiff:
    """How two outputs differ.

    Attributes:
        a, b: the outputs.
        settings: names of the settings in which the two fingerprints differ.
        no_langs_reason: why rows cannot be grouped by language; None if they are.
        langs: row counts by language, the most frequent language first; only "all" with a `no_langs_reason`.
        columns: the columns of results in both.
        only_a, only_b: columns in only one of them.
    """

    a: LoadedOutput
    b: LoadedOutput
    settings: list[str]
    no_langs_reason: str | None
    langs: dict[str, RowCounts]
    columns: list[ColumnDiff]
    only_a: list[str]
    only_b: list[str]

    @cached_property
    def total(self) -> RowCounts:
        """Row counts over all languages."""
        return sum(self.langs.values(), RowCounts())


def compare_outputs(a: Location, b: Location) -> OutputDiff:
    """Compare two outputs.

    Raises:
        FatalError: one is not the output of a job, has no results yet or is damaged, or their id columns differ.
    """
    loaded_a, loaded_b = LoadedOutput(a), LoadedOutput(b)
    if loaded_a.id_columns != loaded_b.id_columns:
        ids_a, ids_b = (" and ".join(output.id_columns) for output in (loaded_a, loaded_b))
        raise FatalError(
            f"{loaded_a.url} and {loaded_b.url}: rows are identified by {ids_a} in A and by {ids_b} in B, so they "
            "cannot be matched; run both jobs with the same input.id"
        )
    return _OutputComparison(loaded_a, loaded_b).run()


class _OutputComparison:
    """Reads all rows, and counts them and their differences by language."""

    def __init__(self, a: LoadedOutput, b: LoadedOutput):
        self.a, self.b = a, b
        self.no_langs_reason = a.no_langs_reason or b.no_langs_reason
        known = sorted((a.known_langs | b.known_langs) - {UNKNOWN_LANG})
        self.langs = [_ALL] if self.no_langs_reason else [*known, UNKNOWN_LANG]
        self.rows = [RowCounts() for _ in self.langs]
        common = [name for name in a.results if name in b.results]
        self.comparisons = {
            name: choose_comparison(a.schema.field(name), b.schema.field(name), a.tasks, b.tasks) for name in common
        }
        self.tallies = {name: [Tally() for _ in self.langs] for name in common}
        compared = [name for name, comparison in self.comparisons.items() if comparison]
        for output in (a, b):
            is_compared = output.lang_column in (None, *compared)
            output.rows.columns = compared if is_compared else [*compared, str(output.lang_column)]
        self.is_in_a = np.zeros(len(b.rows), np.bool_)  # for each row of B

    def run(self) -> OutputDiff:
        for first, table in self.a.rows.batches():
            self._compare_batch(first, table)
        for file in range(self.b.rows.num_files):
            self._count_only_b(file)
        order = sorted(range(len(self.langs)), key=lambda i: (-self.rows[i].total, self.langs[i]))
        order = [i for i in order if self.rows[i].total]
        a, b = self.a.schema, self.b.schema
        return OutputDiff(
            a=self.a,
            b=self.b,
            settings=[path for path, _, _ in find_differences(self.a.fingerprint, self.b.fingerprint)],
            no_langs_reason=self.no_langs_reason,
            langs={self.langs[i]: self.rows[i] for i in order},
            columns=[
                ColumnDiff(
                    name,
                    a.field(name).type,
                    b.field(name).type,
                    comparison,
                    {self.langs[i]: self.tallies[name][i] for i in order if self.tallies[name][i].rows},
                )
                for name, comparison in self.comparisons.items()
            ],
            only_a=[name for name in a.names if name not in b.names],
            only_b=[name for name in b.names if name not in a.names],
        )

    def _compare_batch(self, first: int, table: pa.Table) -> None:
        """Compare rows of A with those of B that have the same ids, and count the others."""
        ids, groups = self.a.rows.ids(table), self._lang_numbers(self.a, table)
        is_first = self.a.is_first(first, first + len(table))
        found = self.b.index.find(ids)
        for group, reason, count in self._count_missing(ids, groups, np.flatnonzero(is_first & (found < 0)), self.b):
            self.rows[group].only_a += count
            if reason is not None:
                self.rows[group].rejected_in_b[reason] += count
        both = np.flatnonzero(is_first & (found >= 0))
        self.is_in_a[found[both]] = True
        for rows_b in self.b.rows.split_by_file(found[both]):
            rows_a = both[rows_b.wanted]
            by_group = list(split_by_group(groups[rows_a]))
            for group, chosen in by_group:
                self.rows[group].both += len(chosen)
            table_b, common_ids = self.b.rows.table(rows_b.file), ids.take(pa.array(rows_a))
            for name, comparison in self.comparisons.items():
                if comparison is None:
                    continue
                values_a = to_array(table[name]).take(pa.array(rows_a))
                values_b = to_array(table_b[name]).take(pa.array(rows_b.rows))
                differences = comparison.measure(values_a, values_b)
                for group, chosen in by_group:
                    self.tallies[name][group].add(differences, common_ids, chosen)

    def _count_only_b(self, file: int) -> None:
        """Count the rows in a file of B that are not in A."""
        start, end = self.b.rows.file_offsets[file : file + 2].tolist()
        missing = np.flatnonzero(self.b.is_first(start, end) & ~self.is_in_a[start:end])
        if not len(missing):
            return
        columns = [*self.b.id_columns, *([self.b.lang_column] if self.b.lang_column else [])]
        table = self.b.rows.read(file, columns)
        for group, reason, count in self._count_missing(
            self.b.rows.ids(table), self._lang_numbers(self.b, table), missing, self.a
        ):
            self.rows[group].only_b += count
            if reason is not None:
                self.rows[group].rejected_in_a[reason] += count

    def _count_missing(
        self, ids: pa.Array, groups: NDArray[np.int64], rows: NDArray[np.int64], other: LoadedOutput
    ) -> Iterator[tuple[int, str | None, int]]:
        """Count rows missing in the other output, by language and by the reason if the other output rejected them."""
        if not len(rows):
            return
        reasons = pa.array(other.reasons(ids.take(pa.array(rows))), pa.string())
        table = pa.table({"group": groups[rows], "reason": reasons}).group_by(["group", "reason"])
        for row in table.aggregate([([], "count_all")]).to_pylist():
            yield row["group"], row["reason"], row["count_all"]

    def _lang_numbers(self, output: LoadedOutput, table: pa.Table) -> NDArray[np.int64]:
        """Return the index of each row's language in `langs`; the last one if the code is in neither ledger."""
        if self.no_langs_reason:
            return np.zeros(len(table), np.int64)
        found = pc.index_in(output.langs(table), value_set=pa.array(self.langs))
        return found.fill_null(len(self.langs) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
