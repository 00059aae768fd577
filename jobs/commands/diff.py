"""`xlm diff`: how far two outputs are apart, in tables that leave out what is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.table import Table
from rich.text import Text

from pipelines.diff import compare_outputs
from pipelines.formatting import format_count, format_percent, format_type, one_line, truncate
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from pipelines.diff import ColumnDiff, LoadedOutput, OutputDiff

Counts = TypeVar("Counts")

_PLAIN_WIDTH = 200  # of a file or a pipe, which have none of their own
_MAX_LANGS = 20  # lines of a table
_MAX_LANG_CHARS = 24  # a wrong input.lang can make a language of anything
_MAX_CHANGES = 8  # of labels, the most frequent
_MAX_LABEL = 40


def diff_outputs(url_a: str, url_b: str, console: Console) -> None:
    """Print how two outputs differ: in their rows, and in each column of results. Texts of rows are never printed.

    Args:
        url_a, url_b: the outputs of two jobs, as path or URL.
        console: where to.

    Raises:
        FatalError: one is no output, has no results yet or is damaged, or their rows have no common ids.
    """
    with console.status("comparing"):
        diff = compare_outputs(locate(url_a), locate(url_b))
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    for item in [*_heading(diff), *_rows(diff), *_columns(diff)]:
        console.print(item, soft_wrap=isinstance(item, Text))


def _heading(diff: OutputDiff) -> Iterator[Text]:
    for name, side in (("A", diff.a), ("B", diff.b)):
        yield Text.assemble((f"{name}  {one_line(side.url)}", "bold"), f"  {_state(side)}")
    if diff.settings:
        yield Text(f"the jobs differ in {', '.join(diff.settings)}", "yellow")
    if diff.no_langs_reason:
        yield Text(f"languages are not told apart: {one_line(diff.no_langs_reason)}")


def _state(side: LoadedOutput) -> str:
    shards = f"{side.num_shards:,} of {side.num_planned:,} shards"
    repeats = (
        f"; {format_count(side.num_repeats, 'row')} with the id of an earlier one passed over"
        if side.num_repeats
        else ""
    )
    return f"{format_count(len(side.rows), 'row')}, {'complete' if side.is_complete else f'incomplete ({shards})'}{repeats}"


def _rows(diff: OutputDiff) -> Iterator[RenderableType]:
    total = diff.total
    yield Text()
    if not total.only_a and not total.only_b:
        yield Text(f"{format_count(total.both, 'row')} in both, none in one alone", "bold")
        return
    table = _table("lang", ["in both", "only in A", "rejected in B", "only in B", "rejected in A"])
    found = [(lang, rows) for lang, rows in diff.langs.items() if rows.only_a or rows.only_b]
    found.sort(key=lambda item: -item[1].only_a - item[1].only_b)
    for lang, rows in [("all", total), *_but_all(found)]:
        counts = (rows.both, rows.only_a, rows.rejected_in_b.total(), rows.only_b, rows.rejected_in_a.total())
        table.add_row(_lang(lang), *(f"{count:,}" for count in counts))
    yield table
    yield from _left_out(len(found), len(diff.langs), diff)
    for only, other, reasons in (("A", "B", total.rejected_in_b), ("B", "A", total.rejected_in_a)):
        if reasons:
            told = ", ".join(f"{one_line(reason)} {count:,}" for reason, count in reasons.most_common())
            yield Text(f"only in {only}, rejected in {other}: {told}")
    if not total.both:
        names = " and ".join(diff.a.id_columns)
        yield Text(f"no row of one is in the other: they were found again by {one_line(names)}", "yellow")


def _columns(diff: OutputDiff) -> Iterator[RenderableType]:
    for side, names in (("A", diff.only_a), ("B", diff.only_b)):
        if names:
            yield Text(f"columns only in {side}: {', '.join(map(one_line, names))}", "yellow")
    for column in diff.columns:
        if column.comparison is None:
            kinds = f"{format_type(column.type_a)} in A and {format_type(column.type_b)} in B"
            yield Text(f"not compared: {one_line(column.name)}, which is {kinds}", "yellow")
    compared = [column for column in diff.columns if column.comparison and column.total.rows]
    if same := [one_line(column.name) for column in compared if column.total.is_same]:
        yield Text(f"the same in all {format_count(diff.total.both, 'row')}: {', '.join(same)}", "green")
    for column in compared:
        if not column.total.is_same:
            yield from _column(column, diff)


def _column(column: ColumnDiff, diff: OutputDiff) -> Iterator[RenderableType]:
    total, way = column.total, column.comparison
    assert way is not None
    types = format_type(column.type_a)
    if column.type_a != column.type_b:
        types = f"{types} in A, {format_type(column.type_b)} in B"
    yield Text()
    yield Text.assemble((one_line(column.name), "bold cyan"), f"  {types}", (f"  changed: {way.what}", "dim"))
    numbers, texts = ["rows", "changed", ""], list[str]()
    if way.similarity:
        numbers += [f"{way.similarity}: mean", "1st percentile", "least"]
        texts.append("in row")
    if total.gap:
        numbers.append("largest difference")
        texts.append("in row")
    if total.changes:
        texts.append("most frequent changes")
    table = _table("lang", numbers, texts)
    found = [(lang, tally) for lang, tally in column.langs.items() if not tally.is_same]
    found.sort(
        key=lambda item: (
            item[1].mean_similarity if way.similarity else 0,
            -item[1].changed / item[1].rows,
            -item[1].gap,
        )
    )
    for lang, tally in [("all", total), *_but_all(found)]:
        cells = [f"{tally.rows:,}", f"{tally.changed:,}", format_percent(tally.changed, tally.rows)]
        ends = list[str]()
        if way.similarity:
            cells += [
                _similarity(value) for value in (tally.mean_similarity, tally.first_percentile, tally.min_similarity)
            ]
            ends.append(_row(tally.min_similarity_id, diff))
        if total.gap:
            cells.append(f"{tally.gap:.3g}" if tally.gap else "")
            ends.append(_row(tally.gap_id, diff))
        if total.changes:
            ends.append(_changes(tally.changes))
        table.add_row(_lang(lang), *cells, *(Text(end, no_wrap=True, overflow="ellipsis") for end in ends))
    yield table
    yield from _left_out(len(found), len(column.langs), diff)


def _table(first: str, numbers: Sequence[str], texts: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    for name in texts:
        table.add_column(name)
    return table


def _but_all(found: list[tuple[str, Counts]]) -> list[tuple[str, Counts]]:
    """Leave out the one entry of rows whose languages are not told apart: it is the sum."""
    return [] if [lang for lang, _ in found] == ["all"] else found[:_MAX_LANGS]


def _left_out(num_different: int, num_langs: int, diff: OutputDiff) -> Iterator[Text]:
    if diff.no_langs_reason:
        return
    more = num_different - _MAX_LANGS
    parts = [f"{format_count(more, 'more language')} with differences"] if more > 0 else []
    if num_langs > num_different:
        parts.append(f"{format_count(num_langs - num_different, 'language')} without any")
    if parts:
        yield Text(f"… and {', '.join(parts)}", "dim")


def _lang(lang: str) -> Text:
    return Text(truncate(one_line(lang), _MAX_LANG_CHARS))


def _similarity(value: float) -> str:
    """Write a cosine or share; what is not quite 1 never looks so."""
    return "> 0.999999" if 0.9999995 <= value < 1 else f"{value:.6f}"


def _row(row_id: str | None, diff: OutputDiff) -> str:
    """Write an id; of file and row the row comes first, so that it stays when the line is cut."""
    if row_id is None:
        return ""
    if len(diff.a.id_columns) == 1:
        return one_line(row_id)
    file, _, row = row_id.rpartition("\n")
    return f"{row} of {one_line(file.rpartition('/')[2])}"


def _changes(changes: Counter[tuple[str, str]]) -> str:
    most = sorted(changes.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{_label(a)} → {_label(b)} {count:,}" for (a, b), count in most[:_MAX_CHANGES]]
    return ", ".join([*told, *(["…"] if len(most) > _MAX_CHANGES else [])])


def _label(label: str) -> str:
    return truncate(one_line(label), _MAX_LABEL)
