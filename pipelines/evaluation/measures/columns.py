"""Flat arrays of columns with lists, in any of Arrow's layouts of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


def list_lengths(column: pa.Array) -> NDArray[np.int64]:
    """Return the number of items of each row; 0 for null."""
    return pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def flatten(column: pa.Array) -> pa.Array:
    """Return the items of all rows."""
    items = column.flatten()
    return items.dictionary_decode() if pyarrow.types.is_dictionary(items.type) else items


def first_items(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the rows with items, and the first item of each of these rows."""
    lengths = list_lengths(column)
    rows = np.flatnonzero(lengths)
    return rows, flatten(column).take(pyarrow.array((np.cumsum(lengths) - lengths)[rows]))
