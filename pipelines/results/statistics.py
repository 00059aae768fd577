"""What a report shows of result columns: the values to count by label, to put in a histogram, or to draw as a map.

Shapes: K values, N rows, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """Labels to count.

    Attributes:
        name: the column.
        rows: int64 [K], the row of each label.
        values: [K].
    """

    name: str
    rows: NDArray[np.int64]
    values: list[str]


@dataclass(frozen=True)
class Numbers:
    """Numbers for a histogram.

    Attributes:
        name: the column.
        rows: int64 [K], the row of each number.
        values: float64 [K].
    """

    name: str
    rows: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Vectors:
    """Vectors for a map.

    Attributes:
        name: the column.
        values: float64 [N, D], one vector for each row.
    """

    name: str
    values: NDArray[np.float64]


Statistic = Labels | Numbers | Vectors


def labels_of(name: str, column: pa.Array) -> Labels:
    """Return the labels of a column with one label per row, null ones left out."""
    values = column.to_pylist()
    rows = [i for i, value in enumerate(values) if value is not None]
    return Labels(name, np.array(rows, np.int64), [str(values[i]) for i in rows])


def numbers_of(name: str, column: pa.Array) -> Numbers:
    """Return the numbers of a column with one number per row."""
    return Numbers(name, np.arange(len(column)), column.to_numpy(zero_copy_only=False).astype(np.float64))


def item_labels(name: str, column: pa.Array, field: str) -> Labels:
    """Return the labels in a column with a list of structs per row, by the name of their field."""
    rows, items = _flatten(column)
    found = labels_of(name, _field(items, field))
    return Labels(name, rows[found.rows], found.values)


def item_numbers(name: str, column: pa.Array, field: str | None = None) -> Numbers:
    """Return the numbers in a column with a list per row: of numbers, or of structs with a field of this name."""
    rows, items = _flatten(column)
    numbers = items if field is None else _field(items, field)
    found = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    is_finite = np.isfinite(found)  # words without a label have no score
    return Numbers(name, rows[is_finite], found[is_finite])


def _flatten(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    lengths = np.diff(column.offsets.to_numpy())
    return np.repeat(np.arange(len(column)), lengths), column.flatten()


def _field(items: pa.StructArray, name: str) -> pa.Array:
    return items.field(items.type.get_field_index(name))
