"""Corpora of good and bad rows: bad rows are rejected with a reason, and good rows get the same results as alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.job import Job
from tests.chaos.bad_input.trial_job import TrialJob, hang_limit
from tests.flow.in_process import read_output, read_rejected, run_to_records


@dataclass(frozen=True)
class Row:
    """One row, and the reason why it is rejected; None if it is not."""

    name: str
    values: dict[str, Any]
    reason: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether all its values are short, so that it takes little time."""
        return all(len(value) < 10_000 for value in self.values.values() if isinstance(value, str | bytes | list))


@dataclass(frozen=True)
class RowResults:
    """The reason and detail of the rejected rows, and the results of all others, by the rows' names."""

    rejected: dict[str, tuple[str, str]]
    results: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class RowCases:
    """The rows of one corpus.

    Attributes:
        name: what the rows have in common.
        schema: the corpus's schema. Strings may be given as bytes, which need not be UTF-8.
        rows: good and bad rows.
        usual: values of the columns that a row does not set. A function receives the row's position.
        settings: the job's settings, by dotted name; `{heads}` is replaced by the folder of heads.
    """

    name: str
    schema: pa.Schema
    rows: Sequence[Row]
    usual: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def run(self, folder: Path, demo: Path, heads: Path) -> RowResults:
        """Run the job over all rows."""
        return self._run(self.rows, folder, demo, heads)

    def run_good_rows(self, folder: Path, demo: Path, heads: Path) -> RowResults:
        """Run the job over the rows that are not rejected, except for long ones."""
        return self._run([row for row in self.rows if row.reason is None and row.is_short], folder, demo, heads)

    def _run(self, rows: Sequence[Row], folder: Path, demo: Path, heads: Path) -> RowResults:
        job = TrialJob(folder, demo)
        for key, value in self.settings.items():
            job.set(key, _replace_heads(value, heads))
        values = [{name: self.usual[name](i) if callable(self.usual[name]) else self.usual[name] for name in self.usual}
                  | row.values for i, row in enumerate(rows)]  # fmt: skip
        columns = [make_column([value[f.name] for value in values], f.type) for f in self.schema]
        job.write(pa.Table.from_arrays(columns, schema=self.schema))
        with hang_limit():
            records = run_to_records(Job.model_validate(job.settings))
        rejected = {row["row"]: (row["reason"], row["detail"]) for row in read_rejected(str(job.out))}
        written = [row.name for i, row in enumerate(rows) if i not in rejected]
        results = read_output(str(job.out)).drop("id").to_pylist()
        assert sum(record.rows_in for record in records) == len(rows)
        assert len(results) == len(written)
        return RowResults({rows[i].name: why for i, why in rejected.items()}, dict(zip(written, results, strict=True)))


def make_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Make a column. Strings given as bytes, also in lists, are written as they are and need not be UTF-8."""
    if pa.types.is_list(kind):
        words = [word for value in values for word in value or []]
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + len(value or []))
        is_null = pa.array([value is None for value in values])
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), make_column(words, kind.value_type), mask=is_null
        )
    if not pa.types.is_string(kind):
        return pa.array(values, kind)
    return pa.array([v.encode() if isinstance(v, str) else v for v in values], pa.binary()).view(pa.string())


def _replace_heads(value: Any, heads: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{heads}", str(heads))
    if isinstance(value, list):
        return [_replace_heads(item, heads) for item in value]
    return {name: _replace_heads(item, heads) for name, item in value.items()} if isinstance(value, dict) else value
