"""One of the two outputs that are compared: its rows by id, their languages, and its rejected rows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.diff.row_index import NumberedRows, RowIndex, to_array
from pipelines.errors import FatalError
from pipelines.output import Output
from pipelines.tasks import parse_tasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.storage import Location


class LoadedOutput:
    """One of the two outputs, restricted to its committed shards.

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
        records = sorted(output.ledger.load().values(), key=lambda record: (record.file, record.part))
        if not records:
            raise FatalError(f"{location.url}: no results yet, because no shard is committed; run the job first")
        self.url, self.is_complete = location.url, output.is_complete
        self.fingerprint = job["fingerprint"] | {"segmenters": job.get("segmenters")}
        self.num_shards, self.num_planned = len(records), output.num_planned() or len(records)
        spec = job["spec"]["input"]
        self.id_columns = ["file", "row"] if spec["id"] is None else [spec["id"]]
        self.tasks = parse_tasks(job["spec"])
        kept = spec["keep"]
        self._lang, self._keep = spec["lang"], kept if isinstance(kept, dict) else {name: name for name in kept}
        self.known_langs = {counts.lang for record in records for counts in record.langs}
        parts = [output.parts / record.part for record in records]
        self.rows = NumberedRows(parts, [record.rows_out for record in records], self.id_columns)
        self.schema = self.rows.schema()
        with_rejected = [record for record in records if record.rows_rejected]
        self._rejected = NumberedRows(
            [output.rejected / record.part for record in with_rejected],
            [record.rows_rejected for record in with_rejected],
            ["file", "row"] if spec["id"] is None else ["id"],
            ["reason"],
        )

    @property
    def results(self) -> list[str]:
        """The columns with results."""
        return [name for name in self.schema.names if name not in self.id_columns and name not in self._keep]

    @property
    def lang_column(self) -> str | None:
        """The column with each row's language; None if it was not kept."""
        copied = {column: name for name, column in self._keep.items()} | {name: name for name in self.id_columns}
        return copied.get(self._lang) if isinstance(self._lang, str) else None

    @property
    def no_langs_reason(self) -> str | None:
        """Why the languages of its rows are unknown; None if they are known."""
        if not isinstance(self._lang, str) or self.lang_column:
            return None
        return f"{self.url} did not keep its input.lang, column {self._lang}"

    def langs(self, table: pa.Table) -> pa.Array:
        """Return the language code of each row, as in the data."""
        if self.lang_column:
            return to_array(table[self.lang_column]).cast(pa.string())
        return pa.repeat(self._lang["fixed"], len(table))

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
