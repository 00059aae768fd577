"""Verify result columns without the model: numbers are finite, vectors have unit length, spans match their texts.

Shapes: N rows of a part, K vectors of a column, D their dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.formatting import format_count
from pipelines.rows import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_VECTORS_AT_ONCE = 4_096  # converted to float64 at a time


@dataclass
class ResultFindings:
    """The results of verifying one part.

    Attributes:
        num_vectors, num_spans: how many were verified.
        faults: one message for each kind of fault in each column, without the text of any row.
    """

    num_vectors: int = 0
    num_spans: int = 0
    faults: list[str] = field(default_factory=list[str])

    def add_fault(self, column: str, rows: NDArray[np.integer[Any]], fault: str) -> None:
        """Record a fault of a column in some rows; nothing if there are none. A row may be given more than once."""
        rows = np.unique(rows)
        if len(rows):
            self.faults.append(
                f"column {column}: {format_count(len(rows), 'row')} with {fault}, the first is row {rows[0]} "
                "of the part"
            )


def verify_finite(findings: ResultFindings, name: str, column: pa.Array) -> None:
    """Verify that all floating-point numbers of a column are finite, however they are nested."""
    if not _is_finite(column):
        rows = np.flatnonzero([not _is_finite(column.slice(i, 1)) for i in range(len(column))])
        findings.add_fault(name, rows, "numbers that are not finite")


def verify_unit_length(findings: ResultFindings, name: str, column: pa.Array, tolerance: float) -> None:
    """Verify that the length of each vector is 1, within a tolerance. A row has one vector or a list of vectors."""
    row_K, vectors = _flatten_vectors(column)
    difference_K = np.empty(len(vectors))
    for start in range(0, len(vectors), _VECTORS_AT_ONCE):
        some = vectors.slice(start, _VECTORS_AT_ONCE)
        values_KD = some.flatten().to_numpy(zero_copy_only=False).reshape(len(some), -1).astype(np.float64)
        difference_K[start : start + len(some)] = np.abs(np.sqrt((values_KD**2).sum(1)) - 1)
    difference_K[~np.isfinite(difference_K)] = 0  # `verify_finite` reports these
    fault = f"a norm that differs from 1 by up to {difference_K.max(initial=0):.2g}"
    findings.add_fault(name, row_K[difference_K > tolerance], fault)


def count_vectors(column: pa.Array) -> int:
    """Return how many vectors a column contains. A row has one vector or a list of vectors."""
    return len(_flatten_vectors(column)[1])


def verify_spans(findings: ResultFindings, name: str, column: pa.Array, texts: Sequence[str] | None) -> None:
    """Verify that each span has the text between its offsets.

    Args:
        findings: receives the faults and the number of spans.
        name: the name of the column.
        column: lists of structs with the fields `text`, `start` and `end`.
        texts: the texts of the rows; None if they cannot be read. Then only the length of each span is verified.
    """
    spans = column.flatten()
    starts, ends = (spans.field(bound).to_pylist() for bound in ("start", "end"))
    covered, _ = decode_text(spans.field("text"))
    rows: list[int] = _row_of_item(column).tolist()
    findings.num_spans += len(spans)
    wrong = [
        row
        for row, start, end, text in zip(rows, starts, ends, covered, strict=True)
        if not 0 <= start <= end
        or len(text or "") != end - start
        or (texts is not None and texts[row][start:end] != text)
    ]
    findings.add_fault(name, np.array(wrong), "spans that do not quote the text")


def _flatten_vectors(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the row of each vector, and the vectors."""
    if pa.types.is_list(column.type):
        return _row_of_item(column), column.flatten()
    return np.arange(len(column)), column


def _row_of_item(column: pa.ListArray) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(column)), column.value_lengths().to_numpy())


def _is_finite(column: pa.Array) -> bool:
    return all(np.isfinite(leaf.drop_null().to_numpy(zero_copy_only=False)).all() for leaf in _float_leaves(column))


def _float_leaves(column: pa.Array) -> Iterator[pa.Array]:
    data_type: Any = column.type
    if pa.types.is_floating(data_type):
        yield column
    elif pa.types.is_struct(data_type):
        for child in column.flatten():
            yield from _float_leaves(child)
    elif pa.types.is_list(data_type) or pa.types.is_fixed_size_list(data_type):
        yield from _float_leaves(column.flatten())
