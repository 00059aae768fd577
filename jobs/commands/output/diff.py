"""`xlm diff`: print how two outputs differ. Columns and languages without differences are left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from rich.text import Text

from jobs.console import make_table, print_error, print_json
from pipelines.diff import compare_outputs, parse_drift_limits
from pipelines.formatting import excerpt, format_count, format_percent, format_type, one_line
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from pipelines.diff import ColumnDiff, OutputDiff, Tally
    from pipelines.result_rows import LoadedOutput

CountsT = TypeVar("CountsT")

_PLAIN_WIDTH = 200  # characters of a line in a file or pipe
_MAX_LANGS = 20  # rows of a table
_MAX_LANG_CHARS = 24  # if input.lang is the wrong column, a language may be any text
_MAX_CHANGES = 8  # of labels
_MAX_LABEL_CHARS = 40


def diff_outputs(
    url_a: str, url_b: str, console: Console, fail_on: Sequence[str] = (), *, as_json: bool = False
) -> bool:
    """Print how the rows and the result columns of two outputs differ. The texts of rows are never printed.

    Args:
        url_a, url_b: the outputs of two jobs, as path or URL.
        console: where to print.
        fail_on: the differences to judge, such as `values=0.01`.
        as_json: print JSON instead of text.

    Returns:
        Whether the outputs differ in one of `fail_on` by more than its limit; this is printed to stderr too.

    Raises:
        FatalError: one is not an output, has no results yet or is damaged, or their id columns differ; or an item of
            `fail_on` is not valid.
    """
    limits = parse_drift_limits(fail_on, "--fail-on")
    with console.status("comparing"):
        diff = compare_outputs(locate(url_a), locate(url_b))
    found = [line for limit in limits for line in limit.find_drift(diff)]
    if as_json:
        print_json(_to_json(diff) | {"drift": found})
    else:
        if not console.is_terminal:
            console.width = max(console.width, _PLAIN_WIDTH)
        for item in [*_heading(diff), *_rows(diff), *_columns(diff)]:
            console.print(item, soft_wrap=isinstance(item, Text))
    if found:
        print_error(*(f"--fail-on {line}" for line in found))
    return bool(found)


def _to_json(diff: OutputDiff) -> dict[str, Any]:
    """Return all differences, also of languages and columns that the text leaves out. `all` is the sum of languages."""
    return {
        "a": _output_to_json(diff.a),
        "b": _output_to_json(diff.b),
        "settings": diff.settings,
        "no_langs_reason": diff.no_langs_reason,
        "rows": {"all": asdict(diff.total), "langs": {lang: asdict(rows) for lang, rows in diff.langs.items()}},
        "columns_only_a": diff.only_a,
        "columns_only_b": diff.only_b,
        "columns": [
            {
                "name": column.name,
                "type_a": format_type(column.type_a),
                "type_b": format_type(column.type_b),
                "compares": column.comparison and column.comparison.what,
                "similarity": column.comparison and column.comparison.similarity,
                "all": _tally_to_json(column.total),
                "langs": {lang: _tally_to_json(tally) for lang, tally in column.langs.items()},
            }
            for column in diff.columns
        ],
    }


def _output_to_json(output: LoadedOutput) -> dict[str, Any]:
    return {
        "output": output.url,
        "complete": output.is_complete,
        "rows": len(output.rows),
        "rows_repeated": output.num_repeats,
        "shards": output.num_shards,
        "shards_planned": output.num_planned,
    }


def _tally_to_json(tally: Tally) -> dict[str, Any]:
    changes = [{"a": a, "b": b, "rows": rows} for (a, b), rows in tally.changes.most_common()]
    return {
        "rows": tally.rows,
        "changed": tally.changed,
        "changes": changes,
        "largest_difference": tally.gap,
        "largest_difference_id": tally.gap_id,
        "mean_similarity": tally.mean_similarity,
        "first_percentile_similarity": tally.first_percentile,
        "min_similarity": tally.min_similarity,
        "min_similarity_id": tally.min_similarity_id,
    }


def _heading(diff: OutputDiff) -> Iterator[Text]:
    for name, output in (("A", diff.a), ("B", diff.b)):
        yield Text.assemble((f"{name}  {one_line(output.url)}", "bold"), f"  {_format_state(output)}")
    if diff.settings:
        yield Text(f"the jobs differ in {', '.join(diff.settings)}", "yellow")
    if diff.no_langs_reason:
        yield Text(f"rows are not grouped by language: {one_line(diff.no_langs_reason)}")


def _format_state(output: LoadedOutput) -> str:
    shards = f"{output.num_shards:,} of {format_count(output.num_planned, 'shard')}"
    state = f"{format_count(len(output.rows), 'row')}, {'complete' if output.is_complete else f'incomplete ({shards})'}"
    if not output.num_repeats:
        return state
    return f"{state}; {format_count(output.num_repeats, 'row')} skipped, because an earlier row has the same id"


def _rows(diff: OutputDiff) -> Iterator[RenderableType]:
    total = diff.total
    yield Text()
    if not total.only_a and not total.only_b:
        yield Text(f"{format_count(total.both, 'row')} in both, none in only one", "bold")
        return
    table = make_table("lang", ["in both", "only in A", "rejected in B", "only in B", "rejected in A"])
    changed = [(lang, rows) for lang, rows in diff.langs.items() if rows.only_a or rows.only_b]
    changed.sort(key=lambda item: -item[1].only_a - item[1].only_b)
    for lang, rows in [("all", total), *_first_langs(changed)]:
        counts = (rows.both, rows.only_a, rows.rejected_in_b.total(), rows.only_b, rows.rejected_in_a.total())
        table.add_row(_format_lang(lang), *(f"{count:,}" for count in counts))
    yield table
    yield from _other_langs(len(changed), len(diff.langs), diff)
    for only, other, reasons in (("A", "B", total.rejected_in_b), ("B", "A", total.rejected_in_a)):
        if reasons:
            counts = ", ".join(f"{one_line(reason)} {count:,}" for reason, count in reasons.most_common())
            yield Text(f"only in {only}, rejected in {other}: {counts}")
    if not total.both:
        names = " and ".join(map(one_line, diff.a.id_columns))
        yield Text(f"A and B have no common rows; rows are matched by {names}", "yellow")


def _columns(diff: OutputDiff) -> Iterator[RenderableType]:
    for output, names in (("A", diff.only_a), ("B", diff.only_b)):
        if names:
            yield Text(f"columns only in {output}: {', '.join(map(one_line, names))}", "yellow")
    for column in diff.columns:
        if column.comparison is None:
            types = f"{format_type(column.type_a)} in A and {format_type(column.type_b)} in B"
            yield Text(f"not compared: {one_line(column.name)}, which is {types}", "yellow")
    compared = [column for column in diff.columns if column.comparison and column.total.rows]
    if same := [one_line(column.name) for column in compared if column.total.is_same]:
        yield Text(f"the same in all {format_count(diff.total.both, 'row')}: {', '.join(same)}", "green")
    for column in compared:
        if not column.total.is_same:
            yield from _column(column, diff)


def _column(column: ColumnDiff, diff: OutputDiff) -> Iterator[RenderableType]:
    total, comparison = column.total, column.comparison
    assert comparison is not None
    types = format_type(column.type_a)
    if column.type_a != column.type_b:
        types = f"{types} in A, {format_type(column.type_b)} in B"
    yield Text()
    yield Text.assemble((one_line(column.name), "bold cyan"), f"  {types}", (f"  changed: {comparison.what}", "dim"))
    numbers, texts = ["rows", "changed", ""], list[str]()
    if comparison.similarity:
        numbers += [f"{comparison.similarity}: mean", "1st percentile", "minimum"]
        texts.append("in row")
    if total.gap:
        numbers.append("largest difference")
        texts.append("in row")
    if total.changes:
        texts.append("most frequent changes")
    table = make_table("lang", numbers, texts)
    changed = [(lang, tally) for lang, tally in column.langs.items() if not tally.is_same]
    has_vectors = comparison.similarity is not None
    changed.sort(
        key=lambda item: (item[1].mean_similarity if has_vectors else 0, -item[1].changed / item[1].rows, -item[1].gap)
    )
    for lang, tally in [("all", total), *_first_langs(changed)]:
        cells = [f"{tally.rows:,}", f"{tally.changed:,}", format_percent(tally.changed, tally.rows)]
        last_cells = list[str]()
        if has_vectors:
            similarities = (tally.mean_similarity, tally.first_percentile, tally.min_similarity)
            cells += map(_format_similarity, similarities)
            last_cells.append(_format_row_id(tally.min_similarity_id, diff))
        if total.gap:
            cells.append(f"{tally.gap:.3g}" if tally.gap else "")
            last_cells.append(_format_row_id(tally.gap_id, diff))
        if total.changes:
            last_cells.append(_format_changes(tally.changes))
        texts = [Text(cell, no_wrap=True, overflow="ellipsis") for cell in last_cells]
        table.add_row(_format_lang(lang), *cells, *texts)
    yield table
    yield from _other_langs(len(changed), len(column.langs), diff)


def _first_langs(changed: list[tuple[str, CountsT]]) -> list[tuple[str, CountsT]]:
    """Select the languages to print. If rows are not grouped by language, their only entry equals the total."""
    return [] if [lang for lang, _ in changed] == ["all"] else changed[:_MAX_LANGS]


def _other_langs(num_changed: int, num_langs: int, diff: OutputDiff) -> Iterator[Text]:
    if diff.no_langs_reason:
        return
    num_more = num_changed - _MAX_LANGS
    parts = [f"{format_count(num_more, 'more language')} with differences"] if num_more > 0 else []
    if num_langs > num_changed:
        parts.append(f"{format_count(num_langs - num_changed, 'language')} without differences")
    if parts:
        yield Text(f"… and {', '.join(parts)}", "dim")


def _format_lang(lang: str) -> Text:
    return Text(excerpt(lang, _MAX_LANG_CHARS))


def _format_similarity(value: float) -> str:
    """Format a cosine or a share. Only exactly 1 is shown as 1.000000."""
    return "> 0.999999" if 0.9999995 <= value < 1 else f"{value:.6f}"


def _format_row_id(row_id: str | None, diff: OutputDiff) -> str:
    """Format an id. For file and row, the row comes first, so that it is still visible if the cell is truncated."""
    if row_id is None:
        return ""
    if len(diff.a.id_columns) == 1:
        return one_line(row_id)
    file, _, row = row_id.rpartition("\n")
    return f"{row} of {one_line(file.rpartition('/')[2])}"


def _format_changes(changes: Counter[tuple[str, str]]) -> str:
    by_count = sorted(changes.items(), key=lambda item: (-item[1], item[0]))
    formatted = [
        f"{excerpt(a, _MAX_LABEL_CHARS)} → {excerpt(b, _MAX_LABEL_CHARS)} {count:,}"
        for (a, b), count in by_count[:_MAX_CHANGES]
    ]
    return ", ".join([*formatted, *(["…"] if len(by_count) > _MAX_CHANGES else [])])
