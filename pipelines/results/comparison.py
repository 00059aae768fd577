"""Compare a result column of two outputs, row by row: two arrays with the same rows in, arrays of differences out.

Floats can differ by a small amount; all other values are either equal or not. So each row has a flag whether it
changed, the largest difference of its floats, and for vectors their similarity (`vector_comparison`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.rows import is_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_SCORES = "differences are between scores in unchanged rows"


class RowDifferences(NamedTuple):
    """How N rows differ.

    Attributes:
        changed: bool [N], whether a row changed.
        gap: float64 [N], the largest difference between a row's numbers; 0 if the labels or texts that the numbers
            belong to changed.
        similarity: for vectors, float32 [N] from -1 to 1, where 1 means equal; NaN if the two rows have different
            numbers of vectors, or none.
        values: for columns with few distinct values, such as labels: both arrays as text.
    """

    changed: NDArray[np.bool_]
    gap: NDArray[np.float64]
    similarity: NDArray[np.float32] | None = None
    values: tuple[pa.Array, pa.Array] | None = None

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Whether a number tells how much a row differs; bool [N]."""
        return self.gap > 0 if self.similarity is None else ~np.isnan(self.similarity)


@dataclass(frozen=True)
class Comparison:
    """How a column is compared.

    Attributes:
        what: the part of a value that counts as changed or unchanged, for display.
        measure: compares two arrays of the same rows.
        similarity: for vectors, the measure of similarity: "cosine", or "equal bits", the share of equal bits.
        is_numeric: whether a value is a number or a list of numbers, for which any difference counts as changed.
    """

    what: str
    measure: Callable[[pa.Array, pa.Array], RowDifferences] = field(repr=False)
    similarity: str | None = None
    is_numeric: bool = False


CompareFields = Callable[[pa.Field, pa.Field], Comparison | None]
"""Chooses how to compare a column from its two declarations; None if the two types cannot be compared."""


def compare_values(what: str) -> CompareFields:
    """Compare text, such as generated text, for equality."""
    return _if_comparable(Comparison(what, _measure))


def compare_categories(what: str) -> CompareFields:
    """Compare columns with few distinct values, such as labels, and count how often each value became which other."""
    return _if_comparable(Comparison(what, _measure_categories))


def compare_numbers(what: str) -> CompareFields:
    """Compare numbers, or lists of numbers. A row with any difference counts as changed."""
    return _if_comparable(Comparison(what, _measure_numbers, is_numeric=True))


def compare_label_scores() -> CompareFields:
    """Compare lists of labels with scores, in any order."""
    return _if_comparable(
        Comparison(f"the labels; {_SCORES}", lambda a, b: _measure(_sort_by_label(a), _sort_by_label(b)))
    )


def compare_labelled_spans() -> CompareFields:
    """Compare lists of labelled text spans, item by item."""
    return _if_comparable(Comparison(f"labels or offsets; {_SCORES}", _measure))


def compare_best(what: str, ignored: frozenset[str] = frozenset()) -> CompareFields:
    """Compare the first item of each list, which is the best one, without the ignored fields of its struct."""
    return _if_comparable(
        Comparison(f"{what}; {_SCORES}", lambda a, b: _measure(_take_first(a), _take_first(b), ignored))
    )


def compare_best_of_each(what: str) -> CompareFields:
    """Compare the first item of each inner list, in a column of lists of lists."""
    return _if_comparable(
        Comparison(
            f"{what}; {_SCORES}", lambda a, b: _measure(_take_first_of_inner_lists(a), _take_first_of_inner_lists(b))
        )
    )


def _if_comparable(comparison: Comparison) -> CompareFields:
    return lambda a, b: comparison if _are_comparable(a.type, b.type) else None


def _measure(a: pa.Array, b: pa.Array, ignored: frozenset[str] = frozenset()) -> RowDifferences:
    changed, gap = _differ(a, b, ignored)
    return RowDifferences(changed, np.where(changed, 0.0, gap))


def _measure_numbers(a: pa.Array, b: pa.Array) -> RowDifferences:
    if pa.types.is_integer(a.type):
        a, b = a.cast(pa.float64(), safe=False), b.cast(pa.float64(), safe=False)
    changed, gap = _differ(a, b)
    return RowDifferences(changed | (gap > 0), gap)


def _measure_categories(a: pa.Array, b: pa.Array) -> RowDifferences:
    changed, gap = _differ(a, b)
    return RowDifferences(changed, gap, values=(a.cast(pa.string()), b.cast(pa.string())))


def _differ(
    a: pa.Array, b: pa.Array, ignored: frozenset[str] = frozenset()
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return for each row whether anything but a float changed, and the largest difference of its floats.

    Two nulls are equal, and so are two NaNs. The difference between NaN and a number is infinite.
    """
    gap = np.zeros(len(a))
    null_a, null_b = (x.is_null().to_numpy(zero_copy_only=False) for x in (a, b))
    changed, both_valid = null_a != null_b, ~(null_a | null_b)
    if _is_list(a.type):
        length_a, length_b = (list_lengths(x) for x in (a, b))
        changed |= length_a != length_b
        aligned = both_valid & (length_a == length_b)
        items_a, items_b = (x.filter(pa.array(aligned)).flatten() for x in (a, b))
        row_of_item = np.repeat(np.flatnonzero(aligned), length_a[aligned])
        item_changed, item_gap = _differ(items_a, items_b, ignored)
        changed[row_of_item[item_changed]] = True
        np.maximum.at(gap, row_of_item, item_gap)
    elif pa.types.is_struct(a.type):
        for child in a.type:
            if child.name not in ignored:
                child_changed, child_gap = _differ(a.field(child.name), b.field(child.name), ignored)
                changed |= child_changed & both_valid
                gap = np.maximum(gap, np.where(both_valid, child_gap, 0))
    elif pa.types.is_floating(a.type):
        x, y = (v.cast(pa.float64()).to_numpy(zero_copy_only=False) for v in (a, b))
        with np.errstate(invalid="ignore"):  # infinity - infinity
            gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0, np.nan_to_num(np.abs(x - y), nan=np.inf))
    else:
        changed |= pc.not_equal(a, b).fill_null(False).to_numpy(zero_copy_only=False)
    return changed, gap


def _are_comparable(a: pa.DataType, b: pa.DataType) -> bool:
    """Return whether two types contain the same kind of values, in whatever layout."""
    if _is_list(a) and _is_list(b):
        return _are_comparable(a.value_type, b.value_type)
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        names = [child.name for child in a]
        return names == [child.name for child in b] and all(
            _are_comparable(a.field(name).type, b.field(name).type) for name in names
        )
    leaves = (is_text, pa.types.is_integer, pa.types.is_floating)
    return any(is_leaf(a) and is_leaf(b) for is_leaf in leaves)


def _is_list(data_type: pa.DataType) -> bool:
    return pa.types.is_list(data_type) or pa.types.is_large_list(data_type)


def list_lengths(lists: pa.Array) -> NDArray[np.int64]:
    """Return the length of each list; 0 for nulls."""
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _to_lists(lengths: NDArray[np.int64], items: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), items)


def _take_first(lists: pa.Array) -> pa.Array:
    return pc.list_slice(lists, 0, 1)


def _take_first_of_inner_lists(lists: pa.Array) -> pa.Array:
    return _to_lists(list_lengths(lists), _take_first(lists.flatten()))


def _sort_by_label(lists: pa.Array) -> pa.Array:
    """Sort each list by its labels, so that a different order by score is not a difference."""
    lengths, items = list_lengths(lists), lists.flatten()
    labels = items.field("label")
    distinct = pc.unique(labels).sort()
    rank = pc.index_in(labels, value_set=distinct).fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.lexsort((rank, np.repeat(np.arange(len(lengths)), lengths)))
    return _to_lists(lengths, items.take(pa.array(order)))
