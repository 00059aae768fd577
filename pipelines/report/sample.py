"""Read some written rows for the statistics of a report: few rows of few parts, however large the output is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output import part_name

if TYPE_CHECKING:
    from pipelines.output import Output, Records
    from pipelines.storage import Location

_MAX_PARTS = 32
_MAX_ROWS = 8_192
_BATCH_ROWS = 256  # a row group of embeddings can be large


@dataclass(frozen=True)
class Sample:
    """Rows of the output.

    Attributes:
        rows: the rows, each column in one chunk.
        num_parts: how many parts they are from.
    """

    rows: pa.Table
    num_parts: int


def read_sample(output: Output, records: Records) -> Sample | None:
    """Read the first rows of parts that are spread over the output.

    Args:
        output: the output.
        records: the records of its parts.

    Returns:
        None if there are no rows.

    Raises:
        OSError, pa.ArrowException: a part is missing or damaged.
        FatalError, RetryableError: see `Location`.
    """
    written = records.filter(records.column("rows_out") > 0).sorted_by_shard()
    number = min(len(written), _MAX_PARTS)
    chosen = written.take(np.arange(number) * len(written) // max(number, 1))
    num_left, tables = _MAX_ROWS, list[pa.Table]()
    # the parts with the fewest rows first, so that the others can fill the sample
    for i, index in enumerate(np.argsort(chosen.column("rows_out"), kind="stable")):
        part = output.parts / part_name(chosen.shards[int(index)].as_py())
        tables.append(part.with_retries(partial(_read_first_rows, part, num_left // (number - i))))
        num_left -= len(tables[-1])
    rows = pa.concat_tables(tables).combine_chunks() if tables else None
    return Sample(rows, number) if rows is not None and len(rows) else None


def _read_first_rows(part: Location, num_rows: int) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    with part.fs.open_input_file(part.path) as source:
        file = pq.ParquetFile(source, buffer_size=2**20)
        for batch in file.iter_batches(_BATCH_ROWS):
            batches.append(batch.slice(0, num_rows))
            num_rows -= len(batches[-1])
            if num_rows <= 0:
                break
        return pa.Table.from_batches(batches, file.schema_arrow)
