"""Build the Arrow columns of results from flat NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def required(name: str, data_type: pa.DataType, metadata: dict[str, str] | None = None) -> pa.Field:
    """Return a field that is never null."""
    return pa.field(name, data_type, nullable=False, metadata=metadata)


def list_of(item_type: pa.DataType) -> pa.DataType:
    """Return the type of lists whose items are never null."""
    return pa.list_(required("item", item_type))


def list_column(data_type: pa.DataType, offsets: NDArray[np.integer[Any]], items: pa.Array) -> pa.Array:
    """Build a column of lists.

    Args:
        data_type: the type of the lists.
        offsets: [N + 1], row i has the items from `offsets[i]` to before `offsets[i + 1]`.
        items: the items of all rows, concatenated.
    """
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=data_type)


def struct_column(data_type: pa.DataType, **values: Any) -> pa.Array:
    """Build a column of structs from the values of each field, passed by the field's name."""
    return pa.StructArray.from_arrays(
        [pa.array(values[field.name], field.type) for field in data_type], fields=list(data_type)
    )


def span_column(
    data_type: pa.DataType,
    texts: Sequence[str],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    **values: Any,
) -> pa.Array:
    """Build a column with a list of text spans for each row. Each span includes the text that it covers.

    Args:
        data_type: the type of the lists. Their structs have the fields `text`, `start`, `end` and those in `values`.
        texts: the texts of the N rows.
        rows: [K], the row of each span, in ascending order.
        starts, ends: [K], the characters of each span, end exclusive.
        values: other fields of the spans, by name.
    """
    spans = zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)
    covered = [texts[row][start:end] for row, start, end in spans]
    items = struct_column(data_type.value_type, text=covered, start=starts, end=ends, **values)
    return list_column(data_type, np.searchsorted(rows, np.arange(len(texts) + 1)), items)
