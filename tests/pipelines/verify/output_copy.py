"""A copy of an output that tests damage in a controlled way, and the changes that they make to it."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.parts import SHARD_RECORD, digest_ids, part_bytes, sha256
from pipelines.output.shard_record import ShardRecord
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from pipelines.verify import Verdict, verify
from tests.flow.in_process import run_to_records

Row = dict[str, Any]
Change = Callable[[pa.Table], pa.Table]


class OutputCopy:
    """An output that may be damaged."""

    def __init__(self, path: Path):
        self.path = path
        self.output = Output(locate(str(self.path)))
        self.records: list[ShardRecord] = list(self.output.ledger.history())

    def verify(self) -> Verdict:
        return verify(self.output)

    def problems(self) -> str:
        """Verify the output, and return all problems, one per line."""
        return format_problems(self.verify())

    def part(self, number: int) -> Path:
        return self.path / "data" / self.records[number].part

    def rejected(self, number: int) -> Path:
        return self.path / "_xlm" / "rejected" / self.records[number].part

    def rewrite(self, path: Path, change: Change, **recorded: Any) -> None:
        """Change the rows of a file, write it as the write stage does, and make its record fit, so that only the
        change itself is wrong.

        Args:
            path: a part, or a file of rejected rows.
            change: receives the rows with the declared schema.
            recorded: further fields of the record to set.
        """
        file = pq.ParquetFile(path)
        declared = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(file.metadata.metadata[b"ARROW:schema"])))
        rows = change(file.read().cast(declared))
        footer = file.metadata.metadata.get(SHARD_RECORD)
        data = part_bytes(rows, footer and footer.decode())
        path.write_bytes(data)
        if path.parent.name == "rejected":
            fields: Row = {"rejected_bytes": data.size, "rejected_digest": sha256(data)}
        else:
            ids = rows["id" if "id" in rows.schema.names else "row"].combine_chunks()
            fields = {"bytes": data.size, "digest": sha256(data), "rows_out": len(rows), "ids_digest": digest_ids(ids)}
        self.change_record(path.name, **fields | recorded)

    def change_record(self, part: str, **changes: Any) -> None:
        """Change the record of a part."""
        rows = [record.to_row() | (changes if record.part == part else {}) for record in self.records]
        self.records = [ShardRecord.from_row(row) for row in rows]
        self.output.ledger.replace(self.records)

    def edit_json(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a JSON file below `_xlm`."""
        path = self.path / "_xlm" / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    def edit_plan(self, change: Callable[[list[Row]], list[Row]]) -> None:
        path = self.path / "_xlm" / "plan.parquet"
        plan = pq.read_table(path)
        pq.write_table(pa.Table.from_pylist(change(plan.to_pylist()), plan.schema), path)


def copy_output(folder: Path, to: Path) -> OutputCopy:
    """Copy the output of a folder; the input remains where the plan has it."""
    shutil.copytree(folder / "out", to / "out")
    return OutputCopy(to / "out")


def write_output(job: Job) -> None:
    """Do what a run does, in this process."""
    output, prepared = Output(locate(job.output.path)), prepare_job(job)
    output.begin(prepared.description, prepared.plan.to_table())
    records = run_to_records(job)
    output.ledger.append(records[:2])
    output.ledger.append(records[2:])
    output.finish({}, "", success=True)


def format_problems(verdict: Verdict) -> str:
    return "\n".join(map(str, verdict.problems))


def truncate(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def flip_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def drop_row(row: int) -> Change:
    return lambda rows: rows.take([i for i in range(len(rows)) if i != row])


def swap_rows(rows: pa.Table) -> pa.Table:
    return rows.take([1, 0, *range(2, len(rows))])


def repeat_last_row(rows: pa.Table) -> pa.Table:
    return rows.take([*range(len(rows)), len(rows) - 1])


def change_values(column: str, change: Callable[[list[Any]], object]) -> Change:
    """Change the values of a column, as Python values."""

    def rewrite(rows: pa.Table) -> pa.Table:
        values = rows[column].to_pylist()
        change(values)
        number, field = rows.schema.get_field_index(column), rows.schema.field(column)
        return rows.set_column(number, field, pa.array(values, field.type))

    return rewrite


def shift_span(values: list[list[Row]]) -> None:
    """Shift the offsets of the first span by one character."""
    span = _first_span(values)
    span |= {"start": span["start"] + 1, "end": span["end"] + 1}


def replace_quote(values: list[list[Row]]) -> None:
    """Replace the text of the first span by another of the same length."""
    span = _first_span(values)
    span["text"] = "\u2603" * len(span["text"])


def set_value(*path: Any) -> Callable[[list[Any]], None]:
    """Set a value below a column's values: `set_value(0, 3, nan)` sets item 3 of row 0."""
    *keys, value = path

    def change(values: list[Any]) -> None:
        inner: Any = values
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


def _first_span(values: list[list[Row]]) -> Row:
    return next(value for value in values if value)[0]
