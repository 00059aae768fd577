"""Choose the column with the gold labels, and read and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.evaluation.gold import to_column
from pipelines.formatting import excerpt, format_count
from pipelines.rows import is_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.gold import Gold, GoldRows
    from pipelines.evaluation.measures import Measure

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


def choose_column(gold: Gold, measure: Measure, name: str | None = None, others: Sequence[str] = ()) -> str:
    """Choose the column with the gold labels: the given one, one with a usual name, or the only one that fits.

    Args:
        gold: the files.
        measure: that of the task.
        name: the column that the user names.
        others: columns that are something else.

    Raises:
        FatalError: there is no such column, it is of another type, or none or several fit.
    """
    if name is None:
        return _find_column(gold, measure, [*gold.id_columns, *others, "lang"])
    field = gold.field(name, "--gold-column")
    if expected := measure.check_gold(field):
        raise FatalError(f"{gold.url}: {name} is {field.type}; expected {expected}; name another --gold-column")
    return name


def _find_column(gold: Gold, measure: Measure, others: Sequence[str]) -> str:
    fitting = [field.name for field in gold.schema if measure.check_gold(field) is None]
    if usual := [usual for usual in measure.gold_names if usual in fitting]:
        return usual[0]
    candidates = [name for name in fitting if name not in others]
    if len(candidates) == 1:
        return candidates[0]
    raise FatalError(
        f"{gold.url}: which column has the gold labels? Name it with --gold-column; it has {gold.list_columns()}"
    )


def read_labels(gold: Gold, name: str, others: Sequence[str] = ()) -> GoldRows:
    """Read the gold labels, which are the first column, and other columns.

    Raises:
        FatalError: a label is null; or as in `Gold.read`.
    """
    rows = gold.read([name, *others])
    column = to_column(rows.table, name)
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    if is_list(column.type):
        is_null_item = column.flatten().is_null().to_numpy(zero_copy_only=False)
        lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(column)), lengths)
        is_null |= np.bincount(row[is_null_item], minlength=len(column)) > 0
    if is_null.any():
        example = excerpt(rows.ids[int(is_null.argmax())].as_py())
        advice = "correct them" if is_list(column.type) else f"leave them out with --filter '{name} is not None'"
        raise FatalError(
            f"{gold.url}: {name} is null in {format_count(int(is_null.sum()), 'row')}, such as {example}; {advice}"
        )
    return rows
