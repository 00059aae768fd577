"""Match the rows of an output with gold labels, by id."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.formatting import excerpt, format_count
from pipelines.rows import UNKNOWN_LANG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.evaluation.gold import GoldRows
    from pipelines.result_rows import LoadedOutput

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class Matched(NamedTuple):
    """Some rows of an output with their gold labels.

    Attributes:
        ids: [n], what identifies each row.
        langs: [n], their language codes; None if they are not known.
        results: [n] rows with result columns.
        gold: [n] rows with columns of the gold labels; None without gold labels.
    """

    ids: pa.Array
    langs: pa.Array | None
    results: pa.Table
    gold: pa.Table | None


@dataclass
class Coverage:
    """Number of rows by where they are.

    Attributes:
        both: rows of the output with a gold label.
        only_output: rows of the output without one.
        only_gold: gold labels without a row of the output.
        rejected: those of `only_gold` that the output rejected, by reason.
        example_output, example_gold: the first id of such a row.
    """

    both: int = 0
    only_output: int = 0
    only_gold: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    example_output: str | None = None
    example_gold: str | None = None

    def describe(self) -> str:
        """Describe the rows that are on one side only; empty if there are none."""
        parts: list[str] = []
        if self.only_gold:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejected.most_common())
            parts.append(
                f"{format_count(self.only_gold, 'gold label')} without a row in the output, such as "
                f"{excerpt(self.example_gold or '')}" + (f" (rejected: {reasons})" if reasons else "")
            )
        if self.only_output:
            parts.append(
                f"{format_count(self.only_output, 'row')} without a gold label, such as "
                f"{excerpt(self.example_output or '')}"
            )
        return "; ".join(parts)


class Matching:
    """Matches the rows of an output, one batch after another.

    Args:
        output: the output.
        columns: the result columns to read.
        gold: the gold labels; None if all rows are taken without one.
        lang_column: the column of the gold labels with the language; None for that of the output.
    """

    def __init__(
        self, output: LoadedOutput, columns: Sequence[str], gold: GoldRows | None, lang_column: str | None = None
    ):
        self._output, self._columns, self._gold, self._lang_column = output, list(columns), gold, lang_column
        self.coverage = Coverage()

    def batches(self) -> Iterator[Matched]:
        """Yield the rows with gold labels, in the order of the output. Afterwards, `coverage` is complete.

        Raises:
            FatalError: two rows of the output have the same id.
        """
        output, gold, coverage = self._output, self._gold, self.coverage
        lang_columns = [output.lang_column] if output.lang_column else []
        output.rows.columns = [*self._columns, *lang_columns]
        is_found = np.zeros(0 if gold is None else len(gold.ids), np.bool_)
        for _, table in output.rows.batches():
            ids = output.rows.ids(table)
            labels = None
            if gold is not None:
                found = pc.index_in(ids, value_set=gold.ids)
                has_label = found.is_valid()
                self._count_without_label(ids.filter(pc.invert(has_label)))
                ids, table, found = ids.filter(has_label), table.filter(has_label), found.drop_null()
                numbers = found.to_numpy()
                self._check_new(is_found[numbers], numbers, ids)
                is_found[numbers] = True
                labels = gold.table.take(found)
            coverage.both += len(ids)
            if len(ids):
                yield Matched(ids, self._langs(table, labels), table.select(self._columns), labels)
        if gold is not None:
            self._count_without_row(gold.ids.filter(pa.array(~is_found)))

    def _langs(self, table: pa.Table, gold: pa.Table | None) -> pa.Array | None:
        if gold is not None and self._lang_column is not None:
            langs = gold[self._lang_column].combine_chunks().cast(pa.string())
        elif self._output.no_langs_reason is None:
            langs = self._output.langs(table)
        else:
            return None
        return langs.fill_null(UNKNOWN_LANG)

    def _check_new(self, was_found: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any], ids: pa.Array) -> None:
        _, first = np.unique(numbers, return_index=True)
        is_new = np.zeros(len(numbers), np.bool_)
        is_new[first] = True
        repeats = np.flatnonzero(was_found | ~is_new)
        if len(repeats):
            raise FatalError(
                f"{self._output.url}: several rows have the id {excerpt(ids[int(repeats[0])].as_py())}, so they cannot "
                "be matched with gold labels; run the job with policy.duplicate_ids: reject"
            )

    def _count_without_label(self, ids: pa.Array) -> None:
        self.coverage.only_output += len(ids)
        if len(ids) and self.coverage.example_output is None:
            self.coverage.example_output = ids[0].as_py()

    def _count_without_row(self, ids: pa.Array) -> None:
        self.coverage.only_gold = len(ids)
        if len(ids):
            self.coverage.example_gold = ids[0].as_py()
            reasons = [reason for reason in self._output.reasons(ids) if reason is not None]
            self.coverage.rejected = Counter(reasons)
