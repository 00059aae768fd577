"""One of two outputs that are compared: its rows, by id, with their languages, and why others were rejected."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.diff.row_index import NumberedRows, RowIndex, to_array
from pipelines.errors import FatalError
from pipelines.output.directory import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.storage import Location


class LoadedOutput:
    """One of the two outputs, as far as it is committed.

    Attributes:
        url: where it is.
        is_complete: whether its run said so.
        num_shards, num_planned: how many shards are done, and are to be.
        fingerprint: what its results depend on.
        schema: of its parts.
        id_columns: what identifies a row: `input.id`, or file and row.
        num_repeats: rows with the id of an earlier one, which are passed over.
    """

    def __init__(self, location: Location):
        output = Output(location)
        job = output.known_job()
        records = sorted(output.ledger.load().values(), key=lambda record: (record.file, record.part))
        if not records:
            raise FatalError(f"{location.url}: no results yet, since no shard is done; run the job first")
        self.url, self.is_complete, self.fingerprint = location.url, output.is_complete, job["fingerprint"]
        self.num_shards, self.num_planned = len(records), output.num_planned() or len(records)
        spec = job["spec"]["input"]
        self.id_columns = ["file", "row"] if spec["id"] is None else [spec["id"]]
        self._lang, self._keep = spec["lang"], spec["keep"]
        self.known_langs = {counts.lang for record in records for counts in record.langs}
        parts = [location / record.part for record in records]
        self.rows = NumberedRows(parts, [record.rows_out for record in records], self.id_columns)
        self.schema = self.rows.schema()
        bad = [record for record in records if record.rows_rejected]
        self._rejected = NumberedRows(
            [output.rejected / record.part for record in bad],
            [record.rows_rejected for record in bad],
            ["file", "row"] if spec["id"] is None else ["id"],
            ["reason"],
        )

    @property
    def results(self) -> list[str]:
        """The columns that its tasks wrote."""
        return [name for name in self.schema.names if name not in self.id_columns and name not in self._keep]

    @property
    def lang_column(self) -> str | None:
        """The column with each row's language, if it was kept."""
        return self._lang if isinstance(self._lang, str) and self._lang in self.schema.names else None

    @property
    def no_langs(self) -> str | None:
        """Why the language of a row is not known; None if it is."""
        if not isinstance(self._lang, str) or self.lang_column:
            return None
        return f"{self.url} did not keep the column {self._lang}, its input.lang"

    def langs(self, table: pa.Table) -> pa.Array:
        """Give the language of each row, as it stands in the data."""
        if self.lang_column:
            return to_array(table[self.lang_column]).cast(pa.string())
        return pa.repeat(self._lang["fixed"], len(table))

    @cached_property
    def index(self) -> RowIndex:
        """Where each row is."""
        return RowIndex(self.rows)

    @property
    def num_repeats(self) -> int:
        """Rows that have the id of an earlier one, which alone counts."""
        return len(self.index.repeats)

    def is_first(self, start: int, end: int) -> NDArray[np.bool_]:
        """Mark which of the rows from `start` to before `end` repeat no id."""
        return ~np.isin(np.arange(start, end), self.index.repeats)

    @cached_property
    def _rejected_index(self) -> RowIndex:
        return RowIndex(self._rejected)

    def reasons(self, ids: pa.Array) -> list[str | None]:
        """Tell why rows were rejected here; None of those that were not."""
        found = self._rejected_index.find(ids)
        reasons = np.full(len(ids), None, object)
        reasons[found >= 0] = self._rejected.take(found[found >= 0], "reason").to_pylist()
        return reasons.tolist()
