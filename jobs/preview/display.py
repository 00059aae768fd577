"""Print a preview of an output: its columns, some rows in readable form, and rejected rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipelines.formatting import format_count, format_type
from pipelines.results import render_scalar, render_text, render_value
from pipelines.tasks import TRAINED_LANGS
from xlm_core.languages import is_missing_lang, resolve_lang

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from rich.console import Console, RenderableType

    from jobs.preview.read import Preview
    from pipelines.tasks import TaskSettings

_PLAIN_WIDTH = 100  # characters of a line in a file or pipe
_MAX_CELL = 40  # characters of a cell, in all columns but the last
_MAX_LABELS = 6  # of a column of labels

_UNTRAINED = "(untrained language)"  # before the labels of a head, which are then guesses

_HIDDEN_METADATA = "int8_"  # the ranges of each dimension of vectors


def print_preview(preview: Preview, console: Console, state: Iterable[Text] = ()) -> None:
    """Print a preview.

    Args:
        preview: what to print.
        console: where to print. Lines are never wrapped, but cut at the width of the terminal, or at 100 characters in
            a file or pipe.
        state: lines to print first.
    """
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    for item in [*state, *_column_lines(preview), *_row_lines(preview), *_rejected_lines(preview)]:
        console.print(item, no_wrap=True, overflow="ellipsis")


def preview_to_json(preview: Preview) -> dict[str, Any]:
    """Return the columns, rows and rejected rows of a preview, with all values in full."""
    return {
        "columns": [
            {
                "name": field.name,
                "type": format_type(field.type),
                "role": _role(field.name, preview),
                "metadata": _read_metadata(field),
            }
            for field in preview.schema
        ],
        "rows": preview.rows,
        "rejected": [
            {"reason": reason, "rows": count, "examples": preview.examples[reason]}
            for reason, count in preview.totals.reasons.items()
        ],
    }


def _column_lines(preview: Preview) -> Iterator[RenderableType]:
    rows = [
        [Text(render_text(field.name), "cyan"), Text(format_type(field.type)), Text(_describe(field, preview), "dim")]
        for field in preview.schema
    ]
    yield Text()
    yield _make_table([[Text(name, "bold") for name in ("column", "type", "")], *rows])


def _describe(field: pa.Field, preview: Preview) -> str:
    """Describe a column: by its role in the input, or by the metadata from its task."""
    metadata, role = _read_metadata(field), _role(field.name, preview)
    if role != "result":
        return role
    if "labels" in metadata:
        labels: list[str] = json.loads(metadata["labels"])
        names = ", ".join(render_text(label) for label in labels[:_MAX_LABELS])
        return f"{format_count(len(labels), 'label')}: {names}{', …' if len(labels) > _MAX_LABELS else ''}"
    shown = {key: value for key, value in metadata.items() if not key.startswith(_HIDDEN_METADATA)}
    return ", ".join(f"{key} {render_text(value)}" for key, value in shown.items())


def _read_metadata(field: pa.Field) -> dict[str, str]:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return {key: value for key, value in metadata.items() if not key.startswith("PARQUET:")}


def _role(column: str, preview: Preview) -> str:
    if column in preview.groups["results"]:
        return "result"
    return "id" if column in preview.groups["id"] else "kept"


def _row_lines(preview: Preview) -> Iterator[RenderableType]:
    for row in preview.rows:
        lines = [[Text(render_text(name)), Text(render_scalar(row[name]))] for name in preview.groups["keep"]]
        lines += [[Text(render_text(name), "cyan"), Text(value)] for name, value in _render_results(row, preview)]
        yield Text()
        ids = preview.groups["id"]
        yield Text("  ".join(f"{render_text(name)} {render_scalar(row[name])}" for name in ids), "bold")
        yield Padding(_make_table(lines), (0, 0, 0, 2), expand=False)


def _render_results(row: dict[str, Any], preview: Preview) -> Iterator[tuple[str, str]]:
    """Yield the results of a row in the order of the columns, each task's results as the task displays them."""
    rendered: set[str] = set()
    for name in preview.groups["results"]:
        if name in rendered:
            continue
        task = next((task for task in preview.tasks if name in task.columns and _can_render(task, row)), None)
        if task is None:
            yield name, render_value(row[name], preview.schema.field(name).type)
        else:
            for column, value in task.render(row, preview.schema):
                yield column, f"{_UNTRAINED} {value}" if _is_untrained(row, column, preview) else value
            rendered.update(task.columns)


def _is_untrained(row: dict[str, Any], column: str, preview: Preview) -> bool:
    """Return whether a value is of a head that was not trained on the row's language, as far as both are known."""
    metadata = _read_metadata(preview.schema.field(column))
    lang = None if preview.lang is None else row[preview.lang]
    if TRAINED_LANGS not in metadata or lang is None or is_missing_lang(str(lang)):
        return False
    return resolve_lang(str(lang), json.loads(metadata[TRAINED_LANGS])) is None


def _can_render(task: TaskSettings, row: dict[str, Any]) -> bool:
    return all(row.get(name) is not None for name in task.columns)


def _rejected_lines(preview: Preview) -> Iterator[RenderableType]:
    if not preview.totals.reasons:
        return
    rows = [[Text(name, "bold") for name in ("rejected", "rows", "such as row", "id", "file")]]
    for reason, count in preview.totals.reasons.items():
        first_cells = [Text(render_text(reason), "red"), Text(f"{count:,}")]
        for example in preview.examples[reason] or [{"row": "", "id": None, "file": ""}]:
            row_id = "" if example["id"] is None else render_text(example["id"])
            rows.append(
                [*first_cells, Text(str(example["row"])), Text(row_id), Text(_shorten_url(example["file"]), "dim")]
            )
            first_cells = [Text(), Text()]
    yield Text()
    yield _make_table(rows)


def _make_table(rows: Sequence[Sequence[Text]]) -> Table:
    """Lay out cells in columns. The last column takes the rest of the line."""
    table = Table.grid(padding=(0, 2))
    num_columns = max((len(row) for row in rows), default=0)
    for _ in range(num_columns - 1):
        table.add_column(no_wrap=True, max_width=_MAX_CELL, overflow="ellipsis")
    table.add_column(overflow="ellipsis")
    for row in rows:
        row[-1].no_wrap = True
        table.add_row(*row)
    return table


def _shorten_url(url: str) -> str:
    """Keep the end of a URL, in which the files of a corpus differ."""
    folders = url.split("/")
    return render_text(url if len(folders) <= 3 else "…/" + "/".join(folders[-2:]))
