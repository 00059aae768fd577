"""Choose how to compare a column that two outputs have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.results import compare_numbers, compare_values, compare_vectors
from pipelines.rows import is_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.results import CompareFields, Comparison
    from pipelines.tasks import TaskSettings


def choose_comparison(
    a: pa.Field, b: pa.Field, tasks_a: Sequence[TaskSettings], tasks_b: Sequence[TaskSettings]
) -> Comparison | None:
    """Choose how to compare a column: as its task defines, or by its types if the two tasks differ.

    Args:
        a, b: the column in the schemas of the two outputs.
        tasks_a, tasks_b: the tasks of the two jobs.

    Returns:
        None if the two types cannot be compared.
    """
    owner_a, owner_b = _find_owner(tasks_a, a.name), _find_owner(tasks_b, b.name)
    if owner_a is None or owner_b is None or owner_a[:2] != owner_b[:2]:
        return _compare_by_type(a, b)
    *_, compare = owner_a
    return compare(a, b)


def _find_owner(tasks: Sequence[TaskSettings], column: str) -> tuple[str, str, CompareFields] | None:
    """Find the task that writes a column: its kind, its own name for the column, and how to compare the column."""
    for task in tasks:
        for name, compare in task.column_comparisons().items():
            if task.column(name) == column:
                return task.kind, name, compare
    return None


def _compare_by_type(a: pa.Field, b: pa.Field) -> Comparison | None:
    item = a.type.value_type if pa.types.is_list(a.type) or pa.types.is_large_list(a.type) else a.type
    if pa.types.is_fixed_size_list(item):
        return compare_vectors(a, b)
    if pa.types.is_integer(item) or pa.types.is_floating(item):
        return compare_numbers("the number" if item == a.type else "the numbers")(a, b)
    return compare_values("the text" if is_text(a.type) else "the value")(a, b)
