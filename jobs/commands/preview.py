"""What `xlm show` shows: how far a job is, and a few rows of its results, read from few of its files."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.job.input import FILE_COLUMNS
from pipelines.output.directory import Output
from pipelines.rows.text_columns import decode_text, is_text
from xlm_core.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.output.shard_record import ShardRecord
    from pipelines.storage import Location

_MAX_EXAMPLES = 5  # of rejected rows, for each reason

RowPlace = tuple[str, int]  # a part, and the number of the row in it


@dataclass(frozen=True)
class Preview:
    """All that is shown.

    Attributes:
        complete: whether the last run said so.
        num_planned: shards of the corpus.
        records: of the shards that are done, in the order of their ids.
        schema: of the parts.
        groups: which columns are what: `id`, `keep` and `results`.
        rows: the rows chosen, as Python values by column.
        examples: for each reason, rows of `_xlm/rejected`.
    """

    complete: bool
    num_planned: int
    records: list[ShardRecord]
    schema: pa.Schema
    groups: dict[str, list[str]]
    rows: list[dict[str, Any]]
    examples: dict[str, list[dict[str, Any]]]


def gather(location: Location, limit: int) -> Preview:
    """Read what there is to show.

    Raises:
        FatalError: nothing is there, no results of a job, none yet, or a part of them cannot be read.
        OSError: the storage cannot be read.
    """
    output = Output(location)
    if not location.exists():
        raise FatalError(f"{location.url}: no such directory; name the output.path of a job")
    job = output.known_job()
    records = [record for _, record in sorted(output.ledger.load().items())]
    if not records:
        raise FatalError(f"{location.url}: no results yet, since no shard is done; run the job, or wait for its run")
    with _open(location / records[0].part) as file:
        schema = file.schema_arrow
    named = _passed_through(job["spec"], schema.names)
    if named is None:
        raise FatalError(f"{output.inner.url}/job.json: damaged; restore it to see the results")
    ids, keep = named
    results = [name for name in schema.names if name not in ids and name not in keep]
    return Preview(
        complete=output.is_complete,
        num_planned=output.num_planned() or len(records),
        records=records,
        schema=schema,
        groups={"id": ids, "keep": keep, "results": results},
        rows=_choose_rows(location, records, schema, keep, limit),
        examples=_examples(output, records),
    )


def _passed_through(spec: Any, columns: list[str]) -> tuple[list[str], list[str]] | None:
    """Find in a job's settings which columns of its parts are ids, and which are kept; None where they do not tell."""
    match spec:
        case {"input": {"id": str() | None as row_id, "keep": list() as keep}}:
            ids = [*FILE_COLUMNS] if row_id is None else [row_id]
            return (ids, cast("list[str]", keep)) if all(name in columns for name in (*ids, *keep)) else None
        case _:
            return None


@contextmanager
def _open(location: Location) -> Generator[pq.ParquetFile]:
    """Open a part; a whole row group of embeddings is large, so columns are read as far as they are needed."""
    try:
        with location.fs.open_input_file(location.path) as source:
            yield pq.ParquetFile(source, buffer_size=2**20)
    except FileNotFoundError:
        raise FatalError(
            f"{location.url}: gone, though the ledger has it; run the job again to write it anew"
        ) from None
    except pa.ArrowException:
        raise FatalError(f"{location.url}: damaged; delete it, and run the job again to write it anew") from None


def _choose_rows(
    location: Location, records: list[ShardRecord], schema: pa.Schema, keep: list[str], limit: int
) -> list[dict[str, Any]]:
    """Take rows of all languages in turn, the most frequent first, where a kept column tells; else the first rows."""
    lang = next((n for n in keep if n.lower() in ("lang", "language") and is_text(schema.field(n).type)), None)
    if lang is None:
        first = ((record.part, i) for record in records for i in range(record.rows_out))
        return _read_rows(location, list(islice(first, limit)))
    frequency = Counter[str]()
    for record in records:
        frequency.update({entry.lang: entry.rows for entry in record.langs})
    found: dict[str, list[RowPlace]] = {}
    for part in _covering(records, [code for code, _ in frequency.most_common(limit)]):
        with _open(location / part) as file:
            codes = [code for batch in file.iter_batches(columns=[lang]) for code in _values(batch.column(0))]
        for index, code in enumerate(codes):
            if len(same := found.setdefault(str(code), [])) < limit:
                same.append((part, index))
    order = sorted(found, key=lambda code: -frequency[code])
    turns = sorted((turn, i) for i, code in enumerate(order) for turn in range(len(found[code])))[:limit]
    return _read_rows(location, [found[order[i]][turn] for i, turn in sorted((i, turn) for turn, i in turns)])


def _covering(records: list[ShardRecord], codes: list[str]) -> list[str]:
    """Name few parts that hold all these languages between them."""
    parts: list[str] = []
    covered: set[str] = set()
    for code in codes:
        if code not in covered:
            record = next(r for r in records if any(entry.lang == code for entry in r.langs))
            parts.append(record.part)
            covered |= {entry.lang for entry in record.langs}
    return parts


def _read_rows(location: Location, places: list[RowPlace]) -> list[dict[str, Any]]:
    rows: dict[RowPlace, dict[str, Any]] = {}
    for part in dict.fromkeys(part for part, _ in places):
        wanted = sorted(index for other, index in places if other == part)
        first = 0
        with _open(location / part) as file:
            for batch in file.iter_batches(batch_size=256):
                inside = [index for index in wanted if first <= index < first + len(batch)]
                taken = batch.take(pa.array([index - first for index in inside], pa.int64()))
                columns = {name: _values(taken.column(name)) for name in taken.schema.names}
                for i, index in enumerate(inside):
                    rows[part, index] = {name: values[i] for name, values in columns.items()}
                first += len(batch)
                if first > wanted[-1]:
                    break
    return [rows[place] for place in places]


def _values(column: pa.Array) -> list[Any]:
    return decode_text(column)[0] if is_text(column.type) else [_as_python(value) for value in column]


def _as_python(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except ValueError:  # a string within that is no UTF-8, or a time finer than Python's
        return "cannot be shown"


def _examples(output: Output, records: list[ShardRecord]) -> dict[str, list[dict[str, Any]]]:
    """Read some rejected rows of every reason, from as few files as will do."""
    examples: dict[str, list[dict[str, Any]]] = {reason: [] for record in records for reason in record.reasons}
    for record in records:
        if all(len(examples[reason]) >= _MAX_EXAMPLES for reason in record.reasons):
            continue
        with suppress(FileNotFoundError):
            for row in (output.rejected / record.part).read_table(["file", "row", "id", "reason"]).to_pylist():
                if len(same := examples.setdefault(row["reason"], [])) < _MAX_EXAMPLES:
                    same.append(row)
    return examples
