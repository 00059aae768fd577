"""Rows of a shard that say the same: headings, boilerplate and empty phrases are computed once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.rows.list_columns import flatten_list_column
from pipelines.rows.schemas import INPUT_IDS, LANG, LENGTHS, OFFSETS, WINDOW_STARTS, WORD_IDS
from pipelines.rows.text_columns import decode_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.rows.text_columns import WordList


_STAGE = (INPUT_IDS, LENGTHS, WINDOW_STARTS, OFFSETS, WORD_IDS)


class Repeats(NamedTuple):
    """Which rows stand for which.

    Attributes:
        distinct: int64 [U], the first row of each kind, in order.
        source: int64 [N], for each row the place of its like in `distinct`.
    """

    distinct: NDArray[np.int64]
    source: NDArray[np.int64]


def find_repeats(rows: pa.RecordBatch, text_columns: list[str]) -> Repeats | None:
    """Find rows alike in all that a result depends on: tokens, language, and the texts where they are quoted.

    Args:
        rows: as tokenized.
        text_columns: the columns of text; those that the rows still have are quoted from.

    Returns:
        None where no row repeats another.
    """
    keys = [_bytes(rows.column(name)) for name in _STAGE if name in rows.schema.names]
    keys.append(rows.column(LANG).to_pylist())
    quoted = [name for name in dict.fromkeys(text_columns) if name in rows.schema.names]
    keys += [_hashable(decode_texts(rows.column(name))[0]) for name in quoted]
    places: dict[tuple[object, ...], int] = {}
    source = np.empty(len(rows), np.int64)
    distinct: list[int] = []
    for i, key in enumerate(zip(*keys, strict=True)):
        place = places.setdefault(key, len(distinct))
        if place == len(distinct):
            distinct.append(i)
        source[i] = place
    return None if len(distinct) == len(rows) else Repeats(np.array(distinct), source)


def _hashable(texts: Sequence[str | WordList | None]) -> list[object]:
    return [tuple(text) if isinstance(text, list) else text for text in texts]


def _bytes(column: pa.ListArray) -> list[object]:
    values, borders = flatten_list_column(column)
    content, places = values.tobytes(), (borders.astype(np.int64) * values.itemsize).tolist()
    return [content[start:end] for start, end in pairwise(places)]
