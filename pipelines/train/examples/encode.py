"""The stage that encodes a shard of rows as examples, and writes them to a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError, RetryableError, ShardError
from pipelines.rows import ROW, Shard, flatten_list_column, read_sequences, to_list_column
from pipelines.stages import Tokenize
from pipelines.storage import describe_error, encode_parquet
from pipelines.train.examples.labels import read_labels
from pipelines.train.examples.schema import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.stages import TokenizeStageSettings
    from pipelines.storage import Location
    from pipelines.train.examples.labels import RowLabels
    from pipelines.training_job import ObjectiveSettings
    from xlm_core.decoding import Sequences

RESULT = pa.schema(
    [
        ("shard", pa.string()),
        ("num_rows", pa.int64()),  # that were read
        ("num_examples", pa.int64()),
        ("reasons", pa.map_(pa.string(), pa.int64())),  # why the others were left out
        ("error", pa.string()),
        ("is_retryable", pa.bool_()),
    ]
)


TRUNCATED_ANSWER = "truncated_answer"  # why a row is left out, in addition to the reasons for rejection


class EncodedShard(NamedTuple):
    """The result of one shard; see `RESULT`."""

    shard: str
    num_rows: int
    num_examples: int
    reasons: dict[str, int]
    error: str | None
    is_retryable: bool


@dataclass(frozen=True)
class EncodeSettings:
    """What a process that encodes examples needs.

    Attributes:
        objective: what the labels mean.
        texts: how the texts are tokenized: once, or once for each text of a translation.
        folder: where the files are written.
    """

    objective: ObjectiveSettings
    texts: list[TokenizeStageSettings]
    folder: Location


class EncodeExamples:
    """A process of the pool that encodes examples."""

    def __init__(self, settings: EncodeSettings):
        self._settings = settings
        self._tokenize = [Tokenize(texts, {}) for texts in settings.texts]

    def __call__(self, table: pa.Table) -> pa.Table:
        """Encode one shard, packed as a table of one row, and write it; return a row of `RESULT`."""
        shard = Shard.from_table(table)
        num_rows = len(shard.rows)
        if shard.failure is not None:
            return _result(EncodedShard(shard.id, num_rows, 0, {}, shard.failure.message, False))
        try:
            examples, reasons = self._encode(shard)
            name = shard.id.rpartition(":")[2]
            (self._settings.folder / f"{name}.parquet").put(encode_parquet(pa.Table.from_batches([examples])))
        except RetryableError as error:
            return _result(EncodedShard(shard.id, num_rows, 0, {}, str(error), True))
        except Exception as error:
            message = str(error) if isinstance(error, FatalError | ShardError) else describe_error(error)
            return _result(EncodedShard(shard.id, num_rows, 0, {}, message, False))
        return _result(EncodedShard(shard.id, num_rows, len(examples), reasons, None, False))

    def _encode(self, shard: Shard) -> tuple[pa.RecordBatch, dict[str, int]]:
        encoded = [tokenize.step(shard) for tokenize in self._tokenize]
        reasons: dict[int, str] = {}
        for part in encoded:
            reasons |= dict(zip(part.rejected["row"].to_pylist(), part.rejected["reason"].to_pylist(), strict=True))
        # of a translation, both texts must be usable
        positions = [part.rows.column(ROW).to_numpy() for part in encoded]
        usable = [
            part.rows.filter(pa.array(np.isin(own, other)))
            for part, own, other in zip(encoded, positions, reversed(positions), strict=True)
        ]
        labels = self._read_labels(shard, usable[0])
        is_labelled = [row is not None for row in labels]
        counts = dict(Counter(reasons.values()))
        if not all(is_labelled):
            counts[TRUNCATED_ANSWER] = is_labelled.count(False)
            usable = [rows.filter(pa.array(is_labelled)) for rows in usable]
        return _to_examples(usable, [row for row in labels if row is not None]), counts

    def _read_labels(self, shard: Shard, rows: pa.RecordBatch) -> Sequence[RowLabels | None]:
        positions = rows.column(ROW).to_pylist()

        def describe(row: int) -> str:
            source = shard.stats.sources[0].file if len(shard.stats.sources) == 1 else f"shard {shard.id}"
            return f"{source}: row {positions[row]}"

        return read_labels(self._settings.objective, rows, read_sequences(rows), describe)


def _to_examples(texts: list[pa.RecordBatch], labels: list[RowLabels]) -> pa.RecordBatch:
    """Return the examples of rows, which are the same in each of the batches of `texts`."""
    tokens = [_tokens(batch, read_sequences(batch)) for batch in texts]
    columns = [_interleave([part[i] for part in tokens]) for i in range(3)]
    columns += [
        pa.array([row.names for row in labels], EXAMPLES.field("label_names").type),
        pa.array([row.values for row in labels], EXAMPLES.field("label_values").type),
        pa.array([row.positions for row in labels], EXAMPLES.field("label_positions").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EXAMPLES)


def _tokens(rows: pa.RecordBatch, sequences: Sequences) -> list[pa.Array]:
    """Return the columns `input_ids`, `lengths` and `langs`."""
    row_offsets = sequences.row_offsets
    return [
        to_list_column(sequences.cu_seqlens[row_offsets], sequences.input_ids),
        to_list_column(row_offsets, sequences.lengths),
        to_list_column(row_offsets, sequences.langs),
    ]


def _interleave(columns: list[pa.Array]) -> pa.Array:
    """Concatenate the lists of each row."""
    if len(columns) == 1:
        return columns[0]
    parts = [flatten_list_column(column) for column in columns]
    lengths = np.stack([np.diff(offsets) for _, offsets in parts], axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths.reshape(-1))])
    values = np.empty(starts[-1], np.int32)
    for i, (own, _) in enumerate(parts):
        first = np.repeat(starts[:-1].reshape(lengths.shape)[:, i], lengths[:, i])
        within = np.arange(len(own)) - np.repeat(np.cumsum(lengths[:, i]) - lengths[:, i], lengths[:, i])
        values[first + within] = own
    return to_list_column(starts[:: len(columns)], values)


def _result(shard: EncodedShard) -> pa.Table:
    # Arrow takes a map as a list of pairs.
    return pa.Table.from_pylist([shard._asdict() | {"reasons": list(shard.reasons.items())}], RESULT)
