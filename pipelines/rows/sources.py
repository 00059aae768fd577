"""Where the rows of a shard come from. Within a shard, a row is identified by its position before the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES_TYPE = pa.list_(pa.struct([("file", pa.string()), ("first_row", pa.int64()), ("num_rows", pa.int64())]))


class Source(NamedTuple):
    """Consecutive rows of an input file, which a shard contains.

    Attributes:
        file: URL of the file.
        first_row: number of the first row in the file, from 0.
        num_rows: number of rows before the filter.
    """

    file: str
    first_row: int
    num_rows: int


def locate_rows(sources: Sequence[Source], positions: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the file and the row number in it of rows that are given by their positions in a shard."""
    starts = np.concatenate([[0], np.cumsum([source.num_rows for source in sources])])
    found = np.searchsorted(starts, positions.to_numpy(), "right") - 1
    firsts = np.array([source.first_row for source in sources], np.int64)
    rows = firsts[found] + positions.to_numpy() - starts[found]
    files = pa.array([source.file for source in sources], pa.string()).take(pa.array(found))
    return files, pa.array(rows, pa.int64())
