"""One output: its committed rows by id, their languages, and its rejected rows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.job import FixedLang, parse_input
from pipelines.output import JOB_FILE, Output, retry_if_replaced
from pipelines.result_rows.row_index import NumberedRows, RowIndex, to_array
from pipelines.tasks import parse_tasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.output import Records, Totals
    from pipelines.storage import Location


def _read_ledger(output: Output) -> tuple[Records, Totals]:
    records = output.ledger.load()
    return records.sorted_by_file(), records.totals()


class LoadedOutput:
    """An output, restricted to its committed shards.

    Attributes:
        url: its URL.
        is_complete: whether its last run was complete.
        num_shards, num_planned: number of committed shards, and of all planned shards.
        fingerprint: everything that its results depend on, with the segmenters.
        schema: schema of its parts.
        tasks: settings of its tasks; empty if another version of the program wrote them.
        id_columns: the columns that identify a row: `input.id`, or file and row.
        known_langs: languages of its rows, as in the ledger.
        rows: its rows.
    """

    def __init__(self, location: Location):
        output = Output(location)
        job = output.read_existing_job()
        records, totals = retry_if_replaced(lambda: _read_ledger(output))
        if not len(records):
            raise FatalError(f"{location.url}: no results yet, because no shard is committed; run the job first")
        self.url, self.is_complete = location.url, output.is_complete
        self.fingerprint = job["fingerprint"] | {"segmenters": job.get("segmenters")}
        self.num_shards, self.num_planned = len(records), output.num_planned() or len(records)
        spec = parse_input(job["spec"], (output.bookkeeping / JOB_FILE).url)
        self._input, self.id_columns, self.tasks = spec, spec.id_columns, parse_tasks(job["spec"])
        self.known_langs = {counts.lang for counts in totals.langs}
        self.rows = NumberedRows(output.parts, records.shards, records.column("rows_out"), self.id_columns)
        self.schema = self.rows.schema()
        with_rejected = records.filter(records.column("rows_rejected") > 0)
        self._rejected = NumberedRows(
            output.rejected,
            with_rejected.shards,
            with_rejected.column("rows_rejected"),
            spec.id_columns if spec.id is None else ["id"],
            ["reason"],
        )

    @property
    def results(self) -> list[str]:
        """The columns with results."""
        return [name for name in self.schema.names if name not in self.id_columns and name not in self._input.kept]

    @property
    def lang_column(self) -> str | None:
        """The column with each row's language; None if it was not kept."""
        return self._input.output_lang_column

    @property
    def input_lang_column(self) -> str | None:
        """The column of the input with each row's language; None if all rows have the same."""
        return self._input.lang_column

    @property
    def no_langs_reason(self) -> str | None:
        """Why the languages of its rows are unknown; None if they are known."""
        if self.lang_column or self._input.lang_column is None:
            return None
        return f"{self.url} did not keep its input.lang, column {self._input.lang_column}"

    def langs(self, table: pa.Table) -> pa.Array:
        """Return the language code of each row, as in the data."""
        if isinstance(self._input.lang, FixedLang):
            return pa.repeat(self._input.lang.fixed, len(table))
        return to_array(table[self.lang_column]).cast(pa.string())

    @cached_property
    def index(self) -> RowIndex:
        """Finds its rows by id."""
        return RowIndex(self.rows)

    @property
    def num_repeats(self) -> int:
        """Number of rows whose id an earlier row has; they are not compared."""
        return len(self.index.repeats)

    def is_first(self, start: int, end: int) -> NDArray[np.bool_]:
        """Return which rows from `start` to before `end` do not repeat the id of an earlier row."""
        return ~np.isin(np.arange(start, end), self.index.repeats)

    @cached_property
    def _rejected_index(self) -> RowIndex:
        return RowIndex(self._rejected)

    def reasons(self, ids: pa.Array) -> list[str | None]:
        """Return why rows with these ids were rejected; None for ids that were not."""
        found = self._rejected_index.find(ids)
        reasons = np.full(len(ids), None, object)
        reasons[found >= 0] = self._rejected.take(found[found >= 0], "reason").to_pylist()
        return reasons.tolist()
