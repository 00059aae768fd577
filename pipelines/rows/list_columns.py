"""Arrow columns of integer lists, converted from and to flat arrays with row offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTS = pa.list_(pa.field("item", pa.int32(), nullable=False))


def to_list_column(row_offsets: NDArray[np.integer[Any]], values: NDArray[np.integer[Any]]) -> pa.Array:
    """Build a column of type `INTS`.

    Args:
        row_offsets: [N + 1], row i has the values from `row_offsets[i]` to before `row_offsets[i + 1]`.
        values: the values of all rows, concatenated.
    """
    return pa.ListArray.from_arrays(pa.array(row_offsets, pa.int32()), pa.array(values, pa.int32()), type=INTS)


def flatten_list_column(column: pa.ListArray) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the values of all rows, concatenated, and the row offsets [N + 1], from 0. Values are not copied.

    A shard is often a slice of a block that holds several shards, so its lists may start in the middle of the
    column's values.
    """
    row_offsets = column.offsets.to_numpy()
    values = column.values.to_numpy()[row_offsets[0] : row_offsets[-1]]
    return values, (row_offsets - row_offsets[0]).astype(np.int32)
