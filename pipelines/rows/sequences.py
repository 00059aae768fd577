"""The token sequences of a shard's rows, read from their Arrow columns without copying."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.rows.list_columns import flatten_list_column
from pipelines.rows.schemas import INPUT_IDS, LANG, LENGTHS, OFFSETS, WINDOW_STARTS, WORD_IDS
from xlm_core.decoding import Sequences
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    import pyarrow as pa


def read_sequences(rows: pa.RecordBatch) -> Sequences:
    """Return the sequences of rows as the tokenize stage passes them on."""
    lengths, row_offsets = flatten_list_column(rows.column(LENGTHS))
    needs_offsets = OFFSETS in rows.schema.names
    nothing = np.empty(0, np.int32)
    return Sequences(
        input_ids=flatten_list_column(rows.column(INPUT_IDS))[0],
        cu_seqlens=cumulative_lengths(lengths),
        langs=np.repeat(rows.column(LANG).to_numpy(), np.diff(row_offsets)),
        row_offsets=row_offsets,
        window_starts=flatten_list_column(rows.column(WINDOW_STARTS))[0],
        word_ids=flatten_list_column(rows.column(WORD_IDS))[0] if needs_offsets else nothing,
        offsets=(flatten_list_column(rows.column(OFFSETS))[0] if needs_offsets else nothing).reshape(-1, 2),
    )
