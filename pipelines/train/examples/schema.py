"""The files of encoded examples: the tokens of each row, and what is to be predicted."""

from __future__ import annotations

import pyarrow as pa

from pipelines.rows import INTS

# One row per example. Labels are names, values or token positions, by objective; other lists are empty.
EXAMPLES = pa.schema(
    [
        pa.field("input_ids", INTS, nullable=False),  # of all sequences of the row
        pa.field("lengths", INTS, nullable=False),  # tokens of each sequence
        pa.field("langs", INTS, nullable=False),  # language id of each sequence; -1 for none
        pa.field("label_names", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
        pa.field("label_values", pa.list_(pa.field("item", pa.float64(), nullable=False)), nullable=False),
        # the first token of each labelled word; or the first and the last token of the answer, -1 if there is none
        pa.field("label_positions", INTS, nullable=False),
    ]
)
