"""`xlm show`: a readable look at results, while a run is on its way or after it."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from jobs.preview import gather
from pipelines.storage import locate
from pipelines.wording import counted, type_name
from xlm_core.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from jobs.preview import Preview

_PLAIN_WIDTH = 100  # of a file or a pipe, which have none of their own
_MAX_CELL = 40  # cells of any column but the last
_MAX_CHARS = 1_000  # of a value that are looked at; a line holds fewer
_JOINERS = "\u200c\u200d"  # invisible like the controls, but part of the spelling in Persian, Hindi and emoji


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
        preview = gather(locate(out), max(0, limit))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise FatalError(f"{out}: cannot be read ({reason}); correct the path, or what gives access to it") from None
    width = console.width if console.is_terminal else max(console.width, _PLAIN_WIDTH)
    for line in [*_headline(out, preview), *_schema(preview), *_rows(preview), *_rejected(preview)]:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
        console.print(line, soft_wrap=True)


def _headline(out: str, preview: Preview) -> Iterator[Text]:
    names = ("rows_in", "rows_out", "rows_rejected", "rows_truncated")
    rows_in, rows_out, rejected, truncated = (sum(record[name] for record in preview.records) for name in names)
    state = Text("complete", "bold green") if preview.complete else Text("incomplete", "bold yellow")
    yield Text.assemble((_clean(out), "bold"), "  ", state)
    yield Text(
        f"{counted(rows_in, 'row')} in = {rows_out:,} out + {rejected:,} rejected; "
        f"{truncated:,} truncated; {len(preview.records):,} of {preview.num_planned:,} shards"
    )
    if not preview.complete:
        yield Text("A run is on its way, or one stopped; the same xlm run goes on from here.", "yellow")


def _schema(preview: Preview) -> Iterator[Text]:
    rows = [
        [Text(_clean(field.name), "cyan"), Text(type_name(field.type)), Text(_about(field, preview), "dim")]
        for field in preview.schema
    ]
    yield Text()
    yield from _align([[Text(name, "bold") for name in ("column", "type", "")], *rows])


def _about(field: pa.Field, preview: Preview) -> str:
    """Say what a column is, from the metadata that its task gave it."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if field.name not in preview.groups["results"]:
        return "id" if field.name in preview.groups["id"] else "kept"
    if "labels" in metadata:
        labels: list[str] = json.loads(metadata["labels"])
        names = ", ".join(_clean(label) for label in labels[:6])
        return f"{len(labels)} labels: {names}{', …' if len(labels) > 6 else ''}"
    return ", ".join(f"{key} {value}" for key, value in metadata.items() if not key.startswith("PARQUET:"))


def _rows(preview: Preview) -> Iterator[Text]:
    ids = preview.groups["id"]
    for row in preview.rows:
        lines = [[Text(_clean(n)), Text(_plain(row[n]))] for n in preview.groups["keep"]]
        lines += [[Text(_clean(name), "cyan"), Text(value)] for name, value in _results(row, preview)]
        yield Text()
        yield Text("  ".join(f"{_clean(name)} {_plain(row[name])}" for name in ids), "bold")
        yield from (Text.assemble("  ", line) for line in _align(lines))


def _results(row: dict[str, Any], preview: Preview) -> Iterator[tuple[str, str]]:
    """Give the values of the tasks' columns, each in the way that suits its kind; a score stands with its label."""
    names = preview.groups["results"]
    for name in names:
        value, kind = row[name], preview.schema.field(name).type
        score = f"{name.removesuffix('label')}score"
        if name.endswith("score") and f"{name.removesuffix('score')}label" in names:
            continue
        if name.endswith("label") and score in names:
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


def _rejected(preview: Preview) -> Iterator[Text]:
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


def _tail(file: str) -> str:
    """Shorten a URL to its end, which tells one file of a corpus from another."""
    folders = file.split("/")
    return _clean(file if len(folders) <= 3 else "…/" + "/".join(folders[-2:]))


def _clean(text: str) -> str:
    """Make data fit for one line of a terminal: no line breaks, and nothing that a terminal would obey."""
    kinds = ((character, unicodedata.category(character)) for character in " ".join(text[:_MAX_CHARS].split()))
    return "".join("�" if k in ("Cc", "Cs") else c for c, k in kinds if k != "Cf" or c in _JOINERS)
