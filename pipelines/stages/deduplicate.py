"""Find identical rows in a shard, such as headings and boilerplate, so that they are computed only once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.rows import INPUT_IDS, LANG, LENGTHS, OFFSETS, WINDOW_STARTS, WORD_IDS, decode_texts, flatten_list_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.rows import WordList

_TOKEN_COLUMNS = (INPUT_IDS, LENGTHS, WINDOW_STARTS, OFFSETS, WORD_IDS)


class DistinctRows(NamedTuple):
    """Which rows are distinct, and which are identical to an earlier one.

    Attributes:
        rows: int64 [U], the first of each set of identical rows, in order.
        source: int64 [N], for each row, the index in `rows` of the row that it is identical to.
    """

    rows: NDArray[np.int64]
    source: NDArray[np.int64]


def find_distinct_rows(rows: pa.RecordBatch, text_columns: list[str]) -> DistinctRows | None:
    """Compare rows by everything that a result depends on: tokens, language, and texts that results quote.

    Args:
        rows: rows as the tokenize stage passes them on.
        text_columns: the input's text columns; those still present in `rows` are quoted by results.

    Returns:
        None if all rows are distinct.
    """
    keys = [_to_bytes(rows.column(name)) for name in _TOKEN_COLUMNS if name in rows.schema.names]
    keys.append(rows.column(LANG).to_pylist())
    quoted = [name for name in dict.fromkeys(text_columns) if name in rows.schema.names]
    keys += [_to_hashable(decode_texts(rows.column(name))[0]) for name in quoted]
    indices: dict[tuple[object, ...], int] = {}
    source = np.empty(len(rows), np.int64)
    distinct: list[int] = []
    for i, key in enumerate(zip(*keys, strict=True)):
        index = indices.setdefault(key, len(distinct))
        if index == len(distinct):
            distinct.append(i)
        source[i] = index
    return None if len(distinct) == len(rows) else DistinctRows(np.array(distinct), source)


def _to_hashable(texts: Sequence[str | WordList | None]) -> list[object]:
    return [tuple(text) if isinstance(text, list) else text for text in texts]


def _to_bytes(column: pa.ListArray) -> list[object]:
    values, row_offsets = flatten_list_column(column)
    content, byte_offsets = values.tobytes(), (row_offsets.astype(np.int64) * values.itemsize).tolist()
    return [content[start:end] for start, end in pairwise(byte_offsets)]
