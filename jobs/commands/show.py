"""`xlm show`: a readable look at results, while a run is on its way or after it."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from jobs.commands.preview import gather
from pipelines.formatting import counted, shorten, type_name
from pipelines.storage import locate
from xlm_core.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from jobs.commands.preview import Preview

_PLAIN_WIDTH = 100  # of a file or a pipe, which have none of their own
_MAX_CELL = 40  # cells of any column but the last
_MAX_CHARS = 1_000  # of a value that are looked at; a line holds fewer
_MAX_NUMBERS = 6  # of a vector
_MAX_ANSWER = 30  # characters, so that the next one stands on the line too
_JOINERS = "\u200c\u200d"  # invisible like the controls, but part of the spelling in Persian, Hindi and emoji

_UNTOLD = ("PARQUET:", "int8_")  # metadata of the format itself, and the ranges of each dimension

# Columns whose values stand on one line, by how their names end: a task's own name may go before both.
_TOGETHER = {"label": "score", "choice": "scores", "answers": "no_answer_score"}


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
    records = preview.records
    rows_in, rows_out = sum(record.rows_in for record in records), sum(record.rows_out for record in records)
    rejected = sum(record.rows_rejected for record in records)
    truncated = sum(record.rows_truncated for record in records)
    state = Text("complete", "bold green") if preview.complete else Text("incomplete", "bold yellow")
    yield Text.assemble((_clean(out), "bold"), "  ", state)
    yield Text(
        f"{counted(rows_in, 'row')} in = {rows_out:,} out + {rejected:,} rejected; "
        f"{truncated:,} truncated; {len(records):,} of {preview.num_planned:,} shards"
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
        return f"{counted(len(labels), 'label')}: {names}{', …' if len(labels) > 6 else ''}"
    told = {key: value for key, value in metadata.items() if not key.startswith(_UNTOLD)}
    return ", ".join(f"{key} {_clean(value)}" for key, value in told.items())


def _rows(preview: Preview) -> Iterator[Text]:
    ids = preview.groups["id"]
    for row in preview.rows:
        lines = [[Text(_clean(n)), Text(_plain(row[n]))] for n in preview.groups["keep"]]
        lines += [[Text(_clean(name), "cyan"), Text(value)] for name, value in _results(row, preview)]
        yield Text()
        yield Text("  ".join(f"{_clean(name)} {_plain(row[name])}" for name in ids), "bold")
        yield from (Text.assemble("  ", line) for line in _align(lines))


def _results(row: dict[str, Any], preview: Preview) -> Iterator[tuple[str, str]]:
    """Give the values of the tasks' columns, each in the way that suits its kind; some stand on one line."""
    names = preview.groups["results"]
    beside = {
        name: other
        for name in names
        for end, other_end in _TOGETHER.items()
        if name.endswith(end) and (other := name.removesuffix(end) + other_end) in names
    }
    for name in names:
        if name in beside:
            yield name, _together(row[name], row[beside[name]])
        elif name not in beside.values():
            yield name, _value(row[name], preview.schema.field(name).type, as_words=name.endswith("words"))


def _together(value: Any, other: Any) -> str:
    """Write a label with its score, a choice with the scores of all, or answers with the score of there being none."""
    match value:
        case int():
            return f"{value} {other[value]:.2f} of [{_numbers(other)}]"
        case list():
            best, *rest = [_item(answer) for answer in cast("list[dict[str, Any]]", value)] or ["none"]
            return "; ".join([f"{best} (no answer {other:.2f})", *rest])
        case _:
            return f"{_plain(value)} {other:.2f}"


def _value(value: Any, kind: pa.DataType, *, as_words: bool) -> str:
    if isinstance(value, int | float):
        return _number(value)
    if not isinstance(value, list):
        return _plain(value)
    values, item = cast("list[Any]", value), kind.value_type
    if pa.types.is_fixed_size_list(kind):
        return _vector(values, item)
    if pa.types.is_fixed_size_list(item):
        return f"{counted(len(values), 'vector')}: {_vector(values[0], item.value_type)}"
    if pa.types.is_struct(item):
        return (" " if as_words else ", ").join(_item(one, as_word=as_words) for one in values[:_MAX_CHARS]) or "none"
    if pa.types.is_list(item):
        return " | ".join(_value(inner, item, as_words=False) for inner in values[:_MAX_CHARS]) or "none"
    return f"[{_numbers(values)}]" + (f" C={len(values):,}" if len(values) > _MAX_NUMBERS else "")


def _vector(values: list[float], kind: pa.DataType) -> str:
    """Write the first numbers and the size; a length only of floats, since int8 are steps of a range."""
    if pa.types.is_uint8(kind):
        shown = " ".join(f"{value:02x}" for value in cast("list[int]", values[:_MAX_NUMBERS]))
        return f"[{shown}{' …' if len(values) > _MAX_NUMBERS else ''}] {counted(len(values), 'byte')}"
    text = f"[{_numbers(values)}] D={len(values):,}"
    if not pa.types.is_floating(kind):
        return text
    return f"{text} ‖v‖={math.sqrt(sum(float(value) ** 2 for value in values)):.2f}"


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(_number(value) for value in values[:_MAX_NUMBERS])
    return f"{shown}, … " if len(values) > _MAX_NUMBERS else shown


def _number(value: float) -> str:
    form = ",d" if isinstance(value, int) else "z,.2f" if abs(value) < 1e6 else ".3g"
    return f"{value:{form}}".replace("-", "−", 1) if value < 0 else f"{value:{form}}"


def _item(item: dict[str, Any], *, as_word: bool = False) -> str:
    """Write a word as `Hund/NOUN`, an entity `Berlin (LOC 0.98)`, an answer `Berlin 0.98 [3:9]`, else `sport 0.98`."""
    match item:
        case {"text": text, "label": label} if as_word:
            return f"{_clean(text)}/{_plain(label)}"
        case {"text": text, "label": label, "score": score}:
            return f"{_clean(text)} ({_plain(label)} {score:.2f})"
        case {"text": text, "score": score, "start": start, "end": end}:
            return f"{shorten(_clean(text), _MAX_ANSWER)} {score:.2f} [{start}:{end}]"
        case _:
            return f"{_clean(item['label'] if 'label' in item else item['token'])} {item['score']:.2f}"


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return "null" if value is None else _clean(value if isinstance(value, str) else str(value))


def _rejected(preview: Preview) -> Iterator[Text]:
    counts = Counter[str]()
    for record in preview.records:
        counts.update(record.reasons)
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
