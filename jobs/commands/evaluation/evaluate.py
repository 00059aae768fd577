"""`xlm eval`: print the metrics of an output, and how it differs from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from jobs.commands.evaluation.documents import comparison_to_json, evaluation_to_json
from jobs.commands.evaluation.page import render_page
from jobs.commands.evaluation.tables import comparison_tables, evaluation_tables
from jobs.console import print_json
from pipelines.evaluation import compare, evaluate, read_scored_output
from pipelines.storage import locate

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.evaluation import GoldOptions

_PLAIN_WIDTH = 200  # characters of a line in a file or pipe


def evaluate_output(
    url: str,
    options: GoldOptions,
    column: str | None,
    console: Console,
    *,
    other: str | None = None,
    other_gold: str | None = None,
    page: str | None = None,
    as_json: bool = False,
) -> None:
    """Print the metrics of an output; with a second one, also how it differs. The texts of rows are never printed.

    Args:
        url: the output, as path or URL.
        options: where the gold labels are.
        column: a result column of the task to evaluate; needed if there are several tasks.
        console: where to print.
        other: the second output.
        other_gold: the gold labels of the second output, if they are others.
        page: the path or URL of an HTML page to write.
        as_json: print JSON instead of text.

    Raises:
        FatalError: an output or the gold labels cannot be read, or do not fit each other.
    """
    with console.status("evaluating"):
        scored = read_scored_output(url, options, column)
        evaluation = evaluate(scored)
        comparison = None
        if other is not None:
            other_options = options if other_gold is None else options._replace(url=other_gold)
            comparison = compare(scored, read_scored_output(other, other_options, column))
    measure = scored.measure
    document = evaluation_to_json(evaluation, options.url)
    if comparison is not None and other is not None:
        document["comparison"] = comparison_to_json(comparison, other, measure.metrics)
    if page is not None:
        html = render_page(document, measure.metrics, measure.items, scored.coverage.describe())
        locate(page).put(html.encode("utf-8", "backslashreplace"))
    if as_json:
        print_json(document)
        return
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    items = list(evaluation_tables(evaluation, options.url))
    if comparison is not None and other is not None:
        items += comparison_tables(comparison, other, measure.metrics)
    for item in items:
        console.print(item, soft_wrap=isinstance(item, Text))
