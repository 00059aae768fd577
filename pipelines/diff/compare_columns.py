"""How far one column of two outputs is apart, row by row: two columns of the same rows go in, arrays come out.

Numbers may be near each other, everything else is the same or it is not. So of every row it is told whether it changed,
of floats how large the difference is, and of vectors how similar they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.rows.text_columns import is_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are made when it loads, and no checker knows them

_SCORES = "difference: of scores in rows that did not change"
_VECTORS_AT_ONCE = 4_096  # in float64 beside the column itself


class Measured(NamedTuple):
    """What there is to say of N rows.

    Attributes:
        changed: bool [N].
        gap: float64 [N], the largest difference of the row's numbers; 0 where what they belong to changed.
        similarity: of vectors, float32 [N], from -1 to 1, where 1 is the same; NaN where the row has another number of
            vectors, or none.
        values: of a column with few values, such as labels, both sides' as text.
    """

    changed: NDArray[np.bool_]
    gap: NDArray[np.float64]
    similarity: NDArray[np.float32] | None = None
    values: tuple[pa.Array, pa.Array] | None = None


@dataclass(frozen=True)
class Comparison:
    """The way in which a column is compared.

    Attributes:
        what: what it is that changed or did not, for a person.
        similarity: what the similarity of vectors is: "cosine", or "equal bits", a share; None for other columns.
        measure: compares two arrays of the same rows.
    """

    what: str
    measure: Callable[[pa.Array, pa.Array], Measured] = field(repr=False)
    similarity: str | None = None


def comparison(a: pa.Field, b: pa.Field) -> Comparison | None:
    """Choose how to compare a column, by its types and what its task says of it; None where the two have no measure.

    Vectors of any number type are compared, also with those of another type, as long as they have one dimension.
    """
    vectors_a, vectors_b = _Vectors.of(a), _Vectors.of(b)
    if vectors_a and vectors_b:
        return _compare_vectors(vectors_a, vectors_b)
    if not _comparable(a.type, b.type):
        return None
    item = a.type.value_type if _is_list(a.type) else None
    if item is not None and _is_list(item):
        return Comparison(
            f"the best of each list; {_SCORES}", lambda x, y: _measure(_best_of_each(x), _best_of_each(y))
        )
    if item is not None and pa.types.is_struct(item):
        parts = {part.name for part in item}
        if parts == {"label", "score"}:
            return Comparison(f"the labels; {_SCORES}", lambda x, y: _measure(_by_label(x), _by_label(y)))
        if "label" not in parts:
            places = frozenset({"start", "end"})
            return Comparison(f"the best one's text; {_SCORES}", lambda x, y: _measure(_best(x), _best(y), places))
        return Comparison(f"labels or places; {_SCORES}", _measure)
    if (is_text(a.type) and b"labels" in (a.metadata or {})) or a.name == "choice" or a.name.endswith("_choice"):
        return Comparison("the label" if is_text(a.type) else "the choice", _measure_values)
    if is_text(a.type):
        return Comparison("the text", _measure)
    return Comparison("the number" if item is None else "the numbers", _measure_numbers)


def _measure(a: pa.Array, b: pa.Array, ignored: frozenset[str] = frozenset()) -> Measured:
    changed, gap = _differ(a, b, ignored)
    return Measured(changed, np.where(changed, 0.0, gap))


def _measure_numbers(a: pa.Array, b: pa.Array) -> Measured:
    if pa.types.is_integer(a.type):
        a, b = a.cast(pa.float64(), safe=False), b.cast(pa.float64(), safe=False)
    changed, gap = _differ(a, b)
    return Measured(changed | (gap > 0), gap)


def _measure_values(a: pa.Array, b: pa.Array) -> Measured:
    changed, gap = _differ(a, b)
    return Measured(changed, gap, values=(a.cast(pa.string()), b.cast(pa.string())))


def _differ(
    a: pa.Array, b: pa.Array, ignored: frozenset[str] = frozenset()
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Compare two arrays of any nesting: whether anything but a float changed, and the largest difference of floats.

    Two that are both null, or both not a number, are the same; where one is, the difference is infinite.
    """
    gap = np.zeros(len(a))
    null_a, null_b = (x.is_null().to_numpy(zero_copy_only=False) for x in (a, b))
    changed, both = null_a != null_b, ~(null_a | null_b)
    if _is_list(a.type):
        length_a, length_b = (_lengths(x) for x in (a, b))
        changed |= length_a != length_b
        alike = both & (length_a == length_b)
        items_a, items_b = (x.filter(pa.array(alike)).flatten() for x in (a, b))
        row_of_item = np.repeat(np.flatnonzero(alike), length_a[alike])
        item_changed, item_gap = _differ(items_a, items_b, ignored)
        changed[row_of_item[item_changed]] = True
        np.maximum.at(gap, row_of_item, item_gap)
    elif pa.types.is_struct(a.type):
        for part in a.type:
            if part.name not in ignored:
                part_changed, part_gap = _differ(a.field(part.name), b.field(part.name), ignored)
                changed |= part_changed & both
                gap = np.maximum(gap, np.where(both, part_gap, 0))
    elif pa.types.is_floating(a.type):
        x, y = (v.cast(pa.float64()).to_numpy(zero_copy_only=False) for v in (a, b))
        with np.errstate(invalid="ignore"):  # infinity less infinity
            gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0, np.nan_to_num(np.abs(x - y), nan=np.inf))
    else:
        changed |= pc.not_equal(a, b).fill_null(False).to_numpy(zero_copy_only=False)
    return changed, gap


def _comparable(a: pa.DataType, b: pa.DataType) -> bool:
    """Whether two types hold the same kind of values, however they are laid out."""
    if _is_list(a) and _is_list(b):
        return _comparable(a.value_type, b.value_type)
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        names = [part.name for part in a]
        return names == [part.name for part in b] and all(
            _comparable(a.field(name).type, b.field(name).type) for name in names
        )
    leaves = (is_text, pa.types.is_integer, pa.types.is_floating)
    return any(is_leaf(a) and is_leaf(b) for is_leaf in leaves)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _wrap(lengths: NDArray[np.int64], items: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), items)


def _best(lists: pa.Array) -> pa.Array:
    """Keep the first of each list: the best one."""
    return pc.list_slice(lists, 0, 1)


def _best_of_each(lists: pa.Array) -> pa.Array:
    return _wrap(_lengths(lists), _best(lists.flatten()))


def _by_label(lists: pa.Array) -> pa.Array:
    """Sort each list by its labels: the same ones are the same in whichever order their scores put them."""
    lengths, items = _lengths(lists), lists.flatten()
    labels = items.field("label")
    known = pc.unique(labels).sort()
    rank = pc.index_in(labels, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.lexsort((rank, np.repeat(np.arange(len(lengths)), lengths)))
    return _wrap(lengths, items.take(pa.array(order)))


@dataclass(frozen=True)
class _Vectors:
    """What a column of vectors holds.

    Attributes:
        dim: D, which of bits is not the number of bytes.
        bits: whether eight dimensions lie in one byte.
        each: whether a row has a list of vectors.
        ranges: of int8, the values that its smallest and largest step stand for, float64 [D] each.
    """

    dim: int
    bits: bool
    each: bool
    ranges: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    @classmethod
    def of(cls, column: pa.Field) -> _Vectors | None:
        each = _is_list(column.type)
        kind = column.type.value_type if each else column.type
        if not pa.types.is_fixed_size_list(kind):
            return None
        told = {key.decode(): value.decode() for key, value in (column.metadata or {}).items()}
        bits = pa.types.is_uint8(kind.value_type)
        dim = int(told.get("dim", 8 * kind.list_size)) if bits else kind.list_size
        ranges = None
        if "int8_low" in told:
            ranges = (np.array(json.loads(told["int8_low"])), np.array(json.loads(told["int8_high"])))
        return cls(dim, bits, each, ranges)

    def numbers(self, column: pa.Array) -> NDArray[np.float64]:
        """Give vectors as the numbers that they stand for, [n, D]."""
        found = _flat(column).astype(np.float64)
        if self.ranges is None:
            return found
        low, high = self.ranges
        return (found + 128) / 255 * (high - low) + low

    def packed(self, column: pa.Array) -> NDArray[np.uint8]:
        """Give the signs of vectors, eight to a byte."""
        return _flat(column) if self.bits else np.packbits(self.numbers(column) > 0, axis=1)


def _compare_vectors(a: _Vectors, b: _Vectors) -> Comparison | None:
    if (a.dim, a.each) != (b.dim, b.each):
        return None
    as_bits = a.bits or b.bits

    def pairs(x: pa.Array, y: pa.Array) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        changed, similarity = np.empty(len(x), np.bool_), np.empty(len(x), np.float32)
        for start in range(0, len(x), _VECTORS_AT_ONCE):
            some = slice(start, start + _VECTORS_AT_ONCE)
            some_x, some_y = x[some], y[some]
            if as_bits:
                x_NW, y_NW = a.packed(some_x), b.packed(some_y)
                unequal = np.bitwise_count(x_NW ^ y_NW).sum(1, dtype=np.int64)
                similarity[some], changed[some] = 1 - unequal / a.dim, unequal > 0
            else:
                x_ND, y_ND = a.numbers(some_x), b.numbers(some_y)
                similarity[some], changed[some] = cosine(x_ND, y_ND), (x_ND != y_ND).any(1)
        return changed, similarity

    def single(x: pa.Array, y: pa.Array) -> Measured:
        changed, similarity = pairs(x, y)
        return Measured(changed, np.zeros(len(x)), similarity)

    def several(x: pa.Array, y: pa.Array) -> Measured:
        """Of a row with several vectors the least similar pair counts."""
        num_x, num_y = _lengths(x), _lengths(y)
        alike = (num_x == num_y) & (num_x > 0)
        changed, similarity = num_x != num_y, np.full(len(x), np.nan, np.float32)
        if alike.any():
            pair_changed, pair_similarity = pairs(*(column.filter(pa.array(alike)).flatten() for column in (x, y)))
            first = np.cumsum(num_x[alike]) - num_x[alike]
            changed[alike] = np.logical_or.reduceat(pair_changed, first)
            similarity[alike] = np.minimum.reduceat(pair_similarity, first)
        return Measured(changed, np.zeros(len(x)), similarity)

    return Comparison("the vector", several if a.each else single, "equal bits" if as_bits else "cosine")


def _flat(column: pa.Array) -> NDArray[Any]:
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def cosine(a_ND: NDArray[np.float64], b_ND: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the cosine of each pair of vectors, float32 [N]; two of length 0 are the same, with one it is 0.

    What is not finite has no direction, and counts as one of length 0.
    """
    a_ND, b_ND = (np.where(np.isfinite(x).all(1, keepdims=True), x, 0) for x in (a_ND, b_ND))
    norms = np.sqrt((a_ND**2).sum(1)) * np.sqrt((b_ND**2).sum(1))
    with np.errstate(invalid="ignore"):
        found = np.where(norms > 0, (a_ND * b_ND).sum(1) / norms, 0)
    found[~a_ND.any(1) & ~b_ND.any(1)] = 1
    return np.clip(found, -1, 1).astype(np.float32)
