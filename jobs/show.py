"""`xlm show`: a readable look at results, while a run is on its way or after it."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipelines.columns import decode_text
from pipelines.output import Output
from pipelines.plan import is_text
from pipelines.storage import Location, locate
from xlm_core.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from rich.console import Console

_PLAIN_WIDTH = 100  # of a file or a pipe, which have none of their own
_MAX_CELL = 40  # cells of any column but the last
_MAX_CHARS = 1_000  # of a value that are looked at; a line holds fewer
_MAX_EXAMPLES = 5  # of rejected rows, for each reason
_JOINERS = "\u200c\u200d"  # invisible like the controls, but part of the spelling in Persian, Hindi and emoji


@dataclass(frozen=True)
class _Preview:
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
    records: list[dict[str, Any]]
    schema: pa.Schema
    groups: dict[str, list[str]]
    rows: list[dict[str, Any]]
    examples: dict[str, list[dict[str, Any]]]


def show(out: str, limit: int, console: Console) -> None:
    """Print a preview of a job's results: how far it is, the columns, some rows, and what was rejected.

    Args:
        out: the job's output directory, as path or URL.
        limit: most rows to show.
        console: where to; a line is never broken, but cut at the console's width, or at 100 where that is no terminal.

    Raises:
        FatalError: nothing is there, no results of a job, none yet, or they cannot be read.
    """
    try:
        preview = _gather(locate(out), max(0, limit))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise FatalError(f"{out}: cannot be read ({reason}); correct the path, or what gives access to it") from None
    width = console.width if console.is_terminal else max(console.width, _PLAIN_WIDTH)
    for line in [*_headline(out, preview), *_schema(preview), *_rows(preview), *_rejected(preview)]:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
        console.print(line, soft_wrap=True)


def _gather(location: Location, limit: int) -> _Preview:
    output = Output(location)
    if not location.exists():
        raise FatalError(f"{location.url}: no such directory; name the output.path of a job")
    job = output.saved_job() if (output.inner / "job.json").is_file() else None
    if job is None:
        raise FatalError(
            f"{location.url}: no results of a job (it has no _xlm/job.json); name the output.path of a job"
        )
    records = [record for _, record in sorted(output.ledger.load().items())]
    if not records:
        raise FatalError(f"{location.url}: no results yet, since no shard is done; run the job, or wait for its run")
    with _open(location / records[0]["part"]) as file:
        schema = file.schema_arrow
    spec = job["spec"]["input"]
    ids = ["file", "row"] if spec["id"] is None else [spec["id"]]
    results = [name for name in schema.names if name not in ids and name not in spec["keep"]]
    plan = output.saved_plan()
    return _Preview(
        complete=output.is_complete,
        num_planned=len(records) if plan is None else len(plan),
        records=records,
        schema=schema,
        groups={"id": ids, "keep": spec["keep"], "results": results},
        rows=_choose_rows(location, records, schema, spec["keep"], limit),
        examples=_examples(output, records),
    )


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
    location: Location, records: list[dict[str, Any]], schema: pa.Schema, keep: list[str], limit: int
) -> list[dict[str, Any]]:
    """Take rows of all languages in turn, the most frequent first, where a kept column tells; else the first rows."""
    lang = next((n for n in keep if n.lower() in ("lang", "language") and is_text(schema.field(n).type)), None)
    records = [record for record in records if record["rows_out"]]
    if lang is None:
        places: dict[str, list[int]] = {}
        for record in records:
            places[record["part"]] = list(range(min(limit, record["rows_out"])))
            limit -= len(places[record["part"]])
            if not limit:
                break
        return [row for part, indices in places.items() for row in _read_rows(location / part, indices)]
    frequency = Counter[str]()
    for record in records:
        frequency.update({entry["lang"]: entry["rows"] for entry in record["langs"]})
    found: dict[str, list[tuple[str, int]]] = {}
    for part in _covering(records, [code for code, _ in frequency.most_common(limit)]):
        with _open(location / part) as file:
            codes = [code for batch in file.iter_batches(columns=[lang]) for code in _values(batch.column(0))]
        for index, code in enumerate(codes):
            if len(same := found.setdefault(str(code), [])) < limit:
                same.append((part, index))
    order = sorted(found, key=lambda code: -frequency[code])
    turns = sorted((turn, i) for i, code in enumerate(order) for turn in range(len(found[code])))[:limit]
    chosen = [found[order[i]][turn] for i, turn in sorted((i, turn) for turn, i in turns)]
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for part in dict.fromkeys(part for part, _ in chosen):
        indices = sorted(index for other, index in chosen if other == part)
        rows |= {(part, i): row for i, row in zip(indices, _read_rows(location / part, indices), strict=True)}
    return [rows[place] for place in chosen]


def _covering(records: list[dict[str, Any]], codes: list[str]) -> list[str]:
    """Name few parts that hold all these languages between them."""
    parts: list[str] = []
    covered: set[str] = set()
    for code in codes:
        if code not in covered:
            record = next(r for r in records if any(entry["lang"] == code for entry in r["langs"]))
            parts.append(record["part"])
            covered |= {entry["lang"] for entry in record["langs"]}
    return parts


def _read_rows(location: Location, indices: list[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    first = 0
    with _open(location) as file:
        for batch in file.iter_batches(batch_size=256):
            inside = [index - first for index in indices if first <= index < first + len(batch)]
            taken = batch.take(pa.array(inside, pa.int64()))
            columns = {name: _values(taken.column(name)) for name in taken.schema.names}
            rows += [{name: values[i] for name, values in columns.items()} for i in range(len(inside))]
            first += len(batch)
            if len(rows) == len(indices):
                break
    return rows


def _values(column: pa.Array) -> list[Any]:
    return decode_text(column)[0] if is_text(column.type) else column.to_pylist()


def _examples(output: Output, records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Read some rejected rows of every reason, from as few files as will do."""
    examples: dict[str, list[dict[str, Any]]] = {reason: [] for record in records for reason in record["reasons"]}
    for record in records:
        if all(len(examples[reason]) >= _MAX_EXAMPLES for reason in record["reasons"]):
            continue
        with suppress(FileNotFoundError):
            data = (output.inner / "rejected" / record["part"]).read_bytes()
            for row in pq.read_table(pa.BufferReader(data), columns=["file", "row", "id", "reason"]).to_pylist():
                if len(same := examples.setdefault(row["reason"], [])) < _MAX_EXAMPLES:
                    same.append(row)
    return examples


def _headline(out: str, preview: _Preview) -> Iterator[Text]:
    names = ("rows_in", "rows_out", "rows_rejected", "rows_truncated")
    rows_in, rows_out, rejected, truncated = (sum(record[name] for record in preview.records) for name in names)
    state = Text("complete", "bold green") if preview.complete else Text("incomplete", "bold yellow")
    yield Text.assemble((_clean(out), "bold"), "  ", state)
    yield Text(
        f"{rows_in:,} {'row' if rows_in == 1 else 'rows'} in = {rows_out:,} out + {rejected:,} rejected; "
        f"{truncated:,} truncated; {len(preview.records):,} of {preview.num_planned:,} shards"
    )
    if not preview.complete:
        yield Text("A run is on its way, or one stopped; the same xlm run goes on from here.", "yellow")


def _schema(preview: _Preview) -> Iterator[Text]:
    rows = [
        [Text(_clean(field.name), "cyan"), Text(_type(field.type)), Text(_about(field, preview), "dim")]
        for field in preview.schema
    ]
    yield Text()
    yield from _align([[Text(name, "bold") for name in ("column", "type", "")], *rows])


def _about(field: pa.Field, preview: _Preview) -> str:
    """Say what a column is, from the metadata that its task gave it."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if field.name not in preview.groups["results"]:
        return "id" if field.name in preview.groups["id"] else "kept"
    if "labels" in metadata:
        labels: list[str] = json.loads(metadata["labels"])
        names = ", ".join(_clean(label) for label in labels[:6])
        return f"{len(labels)} labels: {names}{', …' if len(labels) > 6 else ''}"
    return ", ".join(f"{key} {value}" for key, value in metadata.items() if not key.startswith("PARQUET:"))


def _rows(preview: _Preview) -> Iterator[Text]:
    ids = preview.groups["id"]
    for row in preview.rows:
        lines = [[Text(_clean(n)), Text(_plain(row[n]))] for n in preview.groups["keep"]]
        lines += [[Text(_clean(name), "cyan"), Text(value)] for name, value in _results(row, preview)]
        yield Text()
        yield Text("  ".join(f"{_clean(name)} {_plain(row[name])}" for name in ids), "bold")
        yield from (Text.assemble("  ", line) for line in _align(lines))


def _results(row: dict[str, Any], preview: _Preview) -> Iterator[tuple[str, str]]:
    """Give the values of the tasks' columns, each in the way that suits its kind; a score stands with its label."""
    names = preview.groups["results"]
    scored = {f"{name.removesuffix('label')}score": name for name in names if name.endswith("label")}
    for name in names:
        value, kind = row[name], preview.schema.field(name).type
        if name in scored:
            continue
        if name in scored.values() and (score := f"{name.removesuffix('label')}score") in row:
            yield name, f"{_plain(value)} {row[score]:.2f}"
        elif isinstance(value, list) and pa.types.is_fixed_size_list(kind):
            yield name, _vector(value)
        elif isinstance(value, list) and pa.types.is_struct(kind.value_type):
            yield name, _spans(value, as_words=name.endswith("words"))
        elif isinstance(value, list) and pa.types.is_floating(kind.value_type):
            yield name, f"[{_numbers(value)}] C={len(value):,}"
        else:
            yield name, _plain(value)


def _vector(values: list[float]) -> str:
    norm = math.sqrt(sum(float(value) ** 2 for value in values))
    return f"[{_numbers(values)}] D={len(values):,} ‖v‖={norm:.2f}"


def _numbers(values: Sequence[float], most: int = 6) -> str:
    shown = ", ".join(f"{float(value):z.2f}" for value in values[:most]).replace("-", "−")
    return f"{shown}, … " if len(values) > most else shown


def _spans(spans: list[dict[str, Any]], *, as_words: bool) -> str:
    """Write labelled words as `Hund/NOUN`, entities as `Berlin (LOC 0.98)`, and labels alone as `sport 0.98`."""
    pieces: list[str] = []
    for span in spans[:_MAX_CHARS]:
        label, score = _clean(span["label"]), f"{span['score']:.2f}"
        if "text" not in span:
            pieces.append(f"{label} {score}")
        elif as_words:
            pieces.append(f"{_clean(span['text'])}/{label}")
        else:
            pieces.append(f"{_clean(span['text'])} ({label} {score})")
    return (" " if as_words else ", ").join(pieces) or "none"


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return "null" if value is None else _clean(value if isinstance(value, str) else str(value))


def _rejected(preview: _Preview) -> Iterator[Text]:
    counts = Counter[str]()
    for record in preview.records:
        counts.update(record["reasons"])
    if not counts:
        return
    rows = [[Text(name, "bold") for name in ("rejected", "rows", "such as row", "id", "file")]]
    for reason, count in counts.most_common():
        first = [Text(_clean(reason), "red"), Text(f"{count:,}")]
        for example in preview.examples[reason] or [{"row": "", "id": None, "file": ""}]:
            row_id = "" if example["id"] is None else _clean(example["id"])
            rows.append([*first, Text(str(example["row"])), Text(row_id), Text(_tail(example["file"]), "dim")])
            first = [Text(), Text()]
    yield Text()
    yield from _align(rows)


def _align(rows: Sequence[Sequence[Text]]) -> Iterator[Text]:
    """Set cells in columns, by the width they have on a terminal; the last column takes what is left of a line."""
    last = max((len(row) for row in rows), default=0) - 1
    widths = [min(_MAX_CELL, max(cell_len(row[i].plain) for row in rows)) for i in range(last)]
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=False):
            cell.truncate(width, overflow="ellipsis")
            line.append_text(cell).append(set_cell_size("", width + 2 - cell_len(cell.plain)))
        yield line.append_text(row[last])


def _type(kind: pa.DataType) -> str:
    """Write a type without what every part of it repeats."""
    if pa.types.is_fixed_size_list(kind):
        return f"{_type(kind.value_type)}[{kind.list_size:,}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"{{{', '.join(_clean(field.name) for field in kind)}}}"
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _tail(file: str) -> str:
    """Shorten a URL to its end, which tells one file of a corpus from another."""
    folders = file.split("/")
    return _clean(file if len(folders) <= 3 else "…/" + "/".join(folders[-2:]))


def _clean(text: str) -> str:
    """Make data fit for one line of a terminal: no line breaks, and nothing that a terminal would obey."""
    kinds = ((character, unicodedata.category(character)) for character in " ".join(text[:_MAX_CHARS].split()))
    return "".join("�" if k in ("Cc", "Cs") else c for c, k in kinds if k != "Cf" or c in _JOINERS)
