"""The rows of a shard in the input, with which verification compares its part and its rejected rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus import select_rows
from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import format_count
from pipelines.output import id_keys
from pipelines.rows import ROW, decode_texts, join_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus import MemberReader, PlannedShard
    from pipelines.verify.job_description import JobDescription

UNREADABLE = (OSError, LookupError, ValueError, pa.ArrowException, FatalError, RetryableError)


class SourceRows(NamedTuple):
    """The rows of a shard that pass the filter.

    Attributes:
        positions: their positions in the shard.
        keys: what identifies them, as `id_keys` returns it: their ids, or their positions if the job has no id column.
        texts: the texts of each of the columns that results quote.
    """

    positions: NDArray[np.int64]
    keys: list[bytes]
    texts: Mapping[str, list[str]]

    def without(self, positions: NDArray[np.int64]) -> SourceRows:
        """Return the rows that are not at these positions."""
        kept = np.flatnonzero(~np.isin(self.positions, positions)).tolist()
        texts = {name: [values[i] for i in kept] for name, values in self.texts.items()}
        return SourceRows(self.positions[kept], [self.keys[i] for i in kept], texts)


def read_source_rows(shard: PlannedShard, job: JobDescription, reader: MemberReader) -> SourceRows | None:
    """Read the rows of a shard from the input; None if they cannot be read any more."""
    positions, keys = [np.empty(0, np.int64)], list[bytes]()
    texts: dict[str, list[str]] = {name: [] for name in job.quoted_columns}
    for member, first in zip(shard.members, shard.starts, strict=True):
        try:
            rows = select_rows(reader.read(member), first, job.input.filter)
        except UNREADABLE:
            return None
        positions.append(rows[ROW].to_numpy())
        for chunk in rows[job.input.id or ROW].chunks:
            keys += id_keys(chunk)
        for name, found in texts.items():
            found += _decode(rows[name])
    return SourceRows(np.concatenate(positions), keys, texts)


def find_positions(shard: PlannedShard, files: Sequence[str], rows: Sequence[int]) -> NDArray[np.int64]:
    """Return the positions in a shard of rows that are given by file and row number; -1 for rows outside of it."""
    first_rows = [(member.file, member.file_row, member.end_row) for member in shard.members]
    found = np.full(len(rows), -1, np.int64)
    names, numbers = np.array(files, object), np.array(rows, np.int64)
    for (file, start, end), first in zip(first_rows, shard.starts, strict=True):
        inside = (names == file) & (numbers >= start) & (numbers < end)
        found[inside] = numbers[inside] - start + first
    return found


def describe_files(shard: PlannedShard) -> str:
    """Name the input files of a shard."""
    files = list(dict.fromkeys(member.file for member in shard.members))
    return files[0] + (f" and {format_count(len(files) - 1, 'more file')}" if files[1:] else "")


def describe_rows(shard: PlannedShard) -> str:
    """Name the input file of a shard and its rows there, or its files."""
    first, last = shard.members[0], shard.members[-1]
    return (
        f"{first.file} rows {first.file_row} to {last.end_row - 1}"
        if first.file == last.file
        else describe_files(shard)
    )


def _decode(column: pa.ChunkedArray) -> list[str]:
    texts = [text for chunk in column.chunks for text in decode_texts(chunk)[0]]
    return [join_words(text or "") for text in texts]
