"""Compare columns of vectors by cosine similarity or, for binary vectors, by the share of equal bits.

Shapes: N rows or vectors, D dimensions, W bytes of packed bits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.results.comparison import Comparison, RowDifferences, list_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VECTORS_AT_ONCE = 4_096  # converted to float64 at a time


@dataclass(frozen=True)
class _VectorColumn:
    """How a column stores vectors.

    Attributes:
        dim: D, the number of dimensions.
        is_binary: whether a vector is stored as one bit per dimension, eight to a byte.
        is_list: whether a row has a list of vectors.
        ranges: for int8, the values of the lowest and the highest step, float64 [D] each.
    """

    dim: int
    is_binary: bool
    is_list: bool
    ranges: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    @classmethod
    def from_field(cls, field: pa.Field) -> _VectorColumn | None:
        """Read the declaration of a column; None if it does not contain vectors."""
        is_list = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
        vector_type = field.type.value_type if is_list else field.type
        if not pa.types.is_fixed_size_list(vector_type):
            return None
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        is_binary = pa.types.is_uint8(vector_type.value_type)
        dim = int(metadata.get("dim", 8 * vector_type.list_size)) if is_binary else vector_type.list_size
        ranges = None
        if "int8_low" in metadata:
            ranges = (np.array(json.loads(metadata["int8_low"])), np.array(json.loads(metadata["int8_high"])))
        return cls(dim, is_binary, is_list, ranges)

    def to_floats(self, vectors: pa.Array) -> NDArray[np.float64]:
        """Return vectors as the numbers that they represent, [N, D]."""
        values = _to_matrix(vectors).astype(np.float64)
        if self.ranges is None:
            return values
        low, high = self.ranges
        return (values + 128) / 255 * (high - low) + low

    def to_bits(self, vectors: pa.Array) -> NDArray[np.uint8]:
        """Return the signs of vectors as packed bits, [N, W]."""
        return _to_matrix(vectors) if self.is_binary else np.packbits(self.to_floats(vectors) > 0, axis=1)


def first_vectors(field: pa.Field, column: pa.Array) -> NDArray[np.float64]:
    """Return the vector of each row as numbers, or of a list of vectors the first, float64 [N, D].

    Rows without a vector have zeros. Bits are 0 and 1.
    """
    described = _VectorColumn.from_field(field)
    if described is None:
        raise ValueError(f"column {field.name} does not contain vectors")
    rows = np.arange(len(column))
    vectors = column
    if described.is_list:
        offsets = column.offsets.to_numpy()
        rows = np.flatnonzero(np.diff(offsets))
        vectors = column.values.take(pa.array(offsets[rows]))
    bits = np.unpackbits(_to_matrix(vectors), axis=1)[:, : described.dim] if described.is_binary else None
    found = np.zeros((len(column), described.dim))
    found[rows] = described.to_floats(vectors) if bits is None else bits
    return found


def compare_vectors(a: pa.Field, b: pa.Field) -> Comparison | None:
    """Compare vectors of any number type, also with vectors of another number type if both have the same dimension.

    If one of the columns is binary, signs are compared, and cosines otherwise. Of a row with a list of vectors, the
    least similar pair counts.
    """
    column_a, column_b = _VectorColumn.from_field(a), _VectorColumn.from_field(b)
    if column_a is None or column_b is None:
        return None
    if (column_a.dim, column_a.is_list) != (column_b.dim, column_b.is_list):
        return None
    compare_bits = column_a.is_binary or column_b.is_binary

    def measure_pairs(x: pa.Array, y: pa.Array) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        changed, similarity = np.empty(len(x), np.bool_), np.empty(len(x), np.float32)
        for start in range(0, len(x), _VECTORS_AT_ONCE):
            some = slice(start, start + _VECTORS_AT_ONCE)
            some_x, some_y = x[some], y[some]
            if compare_bits:
                x_NW, y_NW = column_a.to_bits(some_x), column_b.to_bits(some_y)
                num_unequal = np.bitwise_count(x_NW ^ y_NW).sum(1, dtype=np.int64)
                similarity[some], changed[some] = 1 - num_unequal / column_a.dim, num_unequal > 0
            else:
                x_ND, y_ND = column_a.to_floats(some_x), column_b.to_floats(some_y)
                similarity[some], changed[some] = cosine(x_ND, y_ND), (x_ND != y_ND).any(1)
        return changed, similarity

    def measure(x: pa.Array, y: pa.Array) -> RowDifferences:
        changed, similarity = measure_pairs(x, y)
        return RowDifferences(changed, np.zeros(len(x)), similarity)

    def measure_lists(x: pa.Array, y: pa.Array) -> RowDifferences:
        num_x, num_y = list_lengths(x), list_lengths(y)
        aligned = (num_x == num_y) & (num_x > 0)
        changed, similarity = num_x != num_y, np.full(len(x), np.nan, np.float32)
        if aligned.any():
            flat_x, flat_y = (column.filter(pa.array(aligned)).flatten() for column in (x, y))
            pair_changed, pair_similarity = measure_pairs(flat_x, flat_y)
            first = np.cumsum(num_x[aligned]) - num_x[aligned]
            changed[aligned] = np.logical_or.reduceat(pair_changed, first)
            similarity[aligned] = np.minimum.reduceat(pair_similarity, first)
        return RowDifferences(changed, np.zeros(len(x)), similarity)

    return Comparison(
        "the vector", measure_lists if column_a.is_list else measure, "equal bits" if compare_bits else "cosine"
    )


def _to_matrix(vectors: pa.Array) -> NDArray[Any]:
    return vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1)


def cosine(a_ND: NDArray[np.float64], b_ND: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the cosine of each pair of vectors, float32 [N].

    A vector with a number that is not finite counts as zero. The cosine of two zero vectors is 1, and that of a zero
    vector and another vector is 0.
    """
    a_ND, b_ND = (np.where(np.isfinite(x).all(1, keepdims=True), x, 0) for x in (a_ND, b_ND))
    norms = np.sqrt((a_ND**2).sum(1)) * np.sqrt((b_ND**2).sum(1))
    with np.errstate(invalid="ignore"):
        cosines = np.where(norms > 0, (a_ND * b_ND).sum(1) / norms, 0)
    cosines[~a_ND.any(1) & ~b_ND.any(1)] = 1
    return np.clip(cosines, -1, 1).astype(np.float32)
