"""Read a preview of an output: the progress of the job, and a few rows of its results, from few of its files."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.preview.values import to_python
from pipelines.errors import FatalError
from pipelines.job import parse_input, parse_policy
from pipelines.output import JOB_FILE, Output, describe_too_many_rejected, part_name, retry_if_replaced
from pipelines.tasks import parse_tasks

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.output import Records, Totals
    from pipelines.storage import Location
    from pipelines.tasks import TaskSettings

_MAX_EXAMPLES = 5  # of rejected rows, for each reason

_RowPosition = tuple[str, int]  # a part, and the number of a row in it


@dataclass(frozen=True)
class Preview:
    """The state of an output, and some of its rows.

    Attributes:
        complete: whether the last run completed the output.
        num_planned: the number of shards of the corpus.
        too_many_rejected: what was rejected, if this is more than the job allows.
        totals: of the records of finished shards.
        schema: the schema of the parts.
        groups: the columns by their meaning: `id`, `keep` and `results`.
        lang: the column with each row's language; None if there is none.
        tasks: the settings of the job's tasks; empty if this version cannot read them.
        rows: the selected rows, as Python values by column.
        examples: for each reason, some of the rejected rows.
    """

    complete: bool
    num_planned: int
    too_many_rejected: str | None
    totals: Totals
    schema: pa.Schema
    groups: dict[str, list[str]]
    lang: str | None
    tasks: list[TaskSettings]
    rows: list[dict[str, Any]]
    examples: dict[str, list[dict[str, Any]]]


def read_preview(location: Location, limit: int) -> Preview:
    """Read the preview of an output.

    Args:
        location: the output directory.
        limit: maximum number of rows to read.

    Raises:
        FatalError: there is no output, no results yet, or a file cannot be read.
        OSError: the storage cannot be read.
    """
    return retry_if_replaced(lambda: _read_preview(Output(location), limit))


def _read_preview(output: Output, limit: int) -> Preview:
    location, job = output.location, output.read_existing_job()
    records = output.ledger.load().sorted_by_shard()
    if not len(records):
        raise FatalError(f"{location.url}: no results yet, because no shard is finished; run the job, or wait for it")
    with _open(output.parts / part_name(records.shards[0].as_py())) as file:
        schema = file.schema_arrow
    totals, policy = records.totals(), parse_policy(job["spec"])
    planned = output.read_planned_rows()
    num_left = max(int(planned["num_rows"].to_numpy().sum()) - totals.counts["rows_read"], 0)
    spec = parse_input(job["spec"], (output.bookkeeping / JOB_FILE).url)
    ids, keep = spec.id_columns, list(spec.kept)
    if missing := [name for name in (*ids, *keep) if name not in schema.names]:
        raise FatalError(
            f"{output.bookkeeping.url}/{JOB_FILE}: names the columns {', '.join(missing)}, which the results do not "
            "have; restore it"
        )
    results = [name for name in schema.names if name not in ids and name not in keep]
    return Preview(
        complete=output.is_complete,
        num_planned=len(planned) or len(records),
        too_many_rejected=policy and describe_too_many_rejected(totals, policy, num_left),
        totals=totals,
        schema=schema,
        groups={"id": ids, "keep": keep, "results": results},
        lang=spec.output_lang_column,
        tasks=parse_tasks(job["spec"]),
        rows=_read_rows(output.parts, _select_rows(output.parts, records, totals, spec.output_lang_column, limit)),
        examples=_read_rejected_examples(output, records, totals),
    )


@contextmanager
def _open(location: Location) -> Generator[pq.ParquetFile]:
    """Open a part without reading it: a whole row group of embeddings is large."""
    try:
        with location.fs.open_input_file(location.path) as source:
            yield pq.ParquetFile(source, buffer_size=2**20)
    except FileNotFoundError:
        raise FatalError(
            f"{location.url}: missing, but the ledger has a record of it; run the job again to write it again"
        ) from None
    except pa.ArrowException:
        raise FatalError(f"{location.url}: damaged; delete it, and run the job again to write it again") from None


def _select_rows(parts: Location, records: Records, totals: Totals, lang: str | None, limit: int) -> list[_RowPosition]:
    """Select the first rows of every language, if a column of the output has the language, or else the first rows.

    Rows are taken from each language in turn, the most frequent language first, up to `limit`.
    """
    if lang is None:
        num_rows = zip(records.shards, records.column("rows_out").tolist(), strict=True)
        positions = ((part_name(shard.as_py()), i) for shard, number in num_rows for i in range(number))
        return list(islice(positions, limit))
    frequency = {counts.lang: counts.rows for counts in totals.langs}
    found: dict[str, list[_RowPosition]] = {}
    for part in _find_parts_with_langs(records, [*frequency][:limit]):
        with _open(parts / part) as file:
            codes = [to_python(code) for batch in file.iter_batches(columns=[lang]) for code in batch.column(0)]
        for index, code in enumerate(codes):
            if len(same_lang := found.setdefault(str(code), [])) < limit:
                same_lang.append((part, index))
    order = sorted(found, key=lambda code: -frequency.get(code, 0))
    turns = sorted((turn, i) for i, code in enumerate(order) for turn in range(len(found[code])))[:limit]
    return [found[order[i]][turn] for i, turn in sorted((i, turn) for turn, i in turns)]


def _find_parts_with_langs(records: Records, codes: list[str]) -> list[str]:
    """Return few parts that together contain rows of all these languages."""
    first = records.first_with("langs")
    parts: list[str] = []
    covered: set[str] = set()
    for code in codes:
        if code not in covered:
            (record,) = records.take(first[code])
            parts.append(record.part)
            covered |= {entry.lang for entry in record.langs}
    return parts


def _read_rows(parts: Location, positions: list[_RowPosition]) -> list[dict[str, Any]]:
    rows: dict[_RowPosition, dict[str, Any]] = {}
    for part in dict.fromkeys(part for part, _ in positions):
        wanted = sorted(index for other, index in positions if other == part)
        first = 0
        with _open(parts / part) as file:
            for batch in file.iter_batches(batch_size=256):
                in_batch = [index for index in wanted if first <= index < first + len(batch)]
                taken = batch.take(pa.array([index - first for index in in_batch], pa.int64()))
                for i, index in enumerate(in_batch):
                    rows[part, index] = {name: to_python(taken.column(name)[i]) for name in taken.schema.names}
                first += len(batch)
                if first > wanted[-1]:
                    break
    return [rows[position] for position in positions]


def _read_rejected_examples(output: Output, records: Records, totals: Totals) -> dict[str, list[dict[str, Any]]]:
    """Read some rejected rows for each reason, from as few files as possible."""
    examples: dict[str, list[dict[str, Any]]] = {reason: [] for reason in totals.reasons}
    first = records.first_with("reasons", _MAX_EXAMPLES)
    for record in records.take(sorted({number for numbers in first.values() for number in numbers})):
        if all(len(examples[reason]) >= _MAX_EXAMPLES for reason in record.reasons):
            continue
        with suppress(FileNotFoundError):
            for row in (output.rejected / record.part).read_table(["file", "row", "id", "reason"]).to_pylist():
                if len(same_reason := examples.setdefault(row["reason"], [])) < _MAX_EXAMPLES:
                    same_reason.append(row)
    return examples
