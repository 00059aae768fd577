"""What must hold of results by themselves: numbers are finite, vectors have their length, spans quote the text.

Shapes: N rows of a part, K vectors of a column, D their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.formatting import counted
from pipelines.job.job import FeatureExtraction, LmScoring, QuestionAnswering, TokenClassification
from pipelines.rows.text_columns import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.job.job import Job, TaskSettings

# How far from 1 rounding can leave a vector's norm: half a step of each number, and for float32 the division before it.
_NORM_WITHIN = {"float32": 1e-5, "float16": 1e-3}

_VECTORS_AT_ONCE = 4_096  # in float64 beside the column itself


@dataclass
class Results:
    """What was looked at in one part, and what is wrong with it.

    Attributes:
        vectors, spans: how many there were.
        wrong: a phrase for each kind of fault in each column, without any row's text.
    """

    vectors: int = 0
    spans: int = 0
    wrong: list[str] = field(default_factory=list[str])


def quoted_columns(job: Job) -> list[str]:
    """List the input columns that results quote from: their offsets count its characters."""
    columns = [_quoted(job, task) for task in job.tasks]
    return list(dict.fromkeys(column for column in columns if column is not None))


def check_results(job: Job, rows: pa.Table, texts: Mapping[str, Sequence[str]] | None) -> Results:
    """Check what the job's tasks wrote of N rows.

    Args:
        job: says what each task's columns are.
        rows: a part, its columns as declared.
        texts: of each of the `quoted_columns`, the N texts; None where they are out of reach, and then a span is
            checked to be as long as what it quotes.
    """
    found = Results()
    for task in job.tasks:
        columns = [rows[name].combine_chunks() for name in task.columns]
        if isinstance(task, LmScoring):
            *columns, perplexity = columns
            wrong = np.flatnonzero(~_follows(perplexity, *columns))
            _tell(found, task.columns[-1], wrong, "a value that does not follow from the log-likelihood")
        for name, column in zip(task.columns, columns, strict=False):
            if not _is_finite(column):
                wrong = np.flatnonzero([not _is_finite(column.slice(i, 1)) for i in range(len(column))])
                _tell(found, name, wrong, "numbers that are not finite")
        if isinstance(task, FeatureExtraction):
            _check_vectors(found, task, columns[0])
        if (source := _quoted(job, task)) is not None:
            _check_spans(found, task.columns[0], columns[0], None if texts is None else texts[source])
    return found


def _quoted(job: Job, task: TaskSettings) -> str | None:
    match task:
        case TokenClassification():
            return job.input.text_columns[0]
        case QuestionAnswering():
            return job.input.text_columns[1]
        case _:
            return None


def _check_vectors(found: Results, task: FeatureExtraction, column: pa.Array) -> None:
    row_K = np.arange(len(column))
    if pa.types.is_list(column.type):
        row_K, column = _rows_of_items(column), column.flatten()
    found.vectors += len(column)
    if not task.normalize or task.dtype not in _NORM_WITHIN:
        return
    off_K = np.empty(len(column))
    for start in range(0, len(column), _VECTORS_AT_ONCE):
        some = column.slice(start, _VECTORS_AT_ONCE)
        values_KD = some.flatten().to_numpy(zero_copy_only=False).reshape(len(some), -1).astype(np.float64)
        off_K[start : start + len(some)] = np.abs(np.sqrt((values_KD**2).sum(1)) - 1)
    # what is not finite is told of already
    wrong = f"a norm off 1 by up to {off_K[np.isfinite(off_K)].max(initial=0):.2g}"
    _tell(found, task.columns[0], row_K[off_K > _NORM_WITHIN[task.dtype]], wrong)


def _check_spans(found: Results, name: str, column: pa.Array, texts: Sequence[str] | None) -> None:
    spans = column.flatten()
    starts, ends = (spans.field(place).to_pylist() for place in ("start", "end"))
    quotes, _ = decode_text(spans.field("text"))
    rows: list[int] = _rows_of_items(column).tolist()
    found.spans += len(spans)
    misquoted = [
        row
        for row, start, end, quote in zip(rows, starts, ends, quotes, strict=True)
        if not 0 <= start <= end
        or len(quote or "") != end - start
        or (texts is not None and texts[row][start:end] != quote)
    ]
    _tell(found, name, np.array(misquoted), "spans that do not quote the text")


def _rows_of_items(column: pa.ListArray) -> NDArray[np.int64]:
    """Give for each item of a column of lists the row that it is in."""
    return np.repeat(np.arange(len(column)), column.value_lengths().to_numpy())


def _follows(perplexity: pa.Array, num_tokens: pa.Array, log_likelihood: pa.Array) -> NDArray[np.bool_]:
    """Tell which perplexities are those of their texts; past 1e308 it is infinity, and NaN where nothing was scored."""
    got, tokens, score = (column.to_numpy(zero_copy_only=False) for column in (perplexity, num_tokens, log_likelihood))
    with np.errstate(all="ignore"):
        return np.isclose(np.exp(-score / tokens), got, rtol=1e-6, equal_nan=True)


def _is_finite(column: pa.Array) -> bool:
    return all(np.isfinite(leaf.drop_null().to_numpy(zero_copy_only=False)).all() for leaf in _floats(column))


def _floats(column: pa.Array) -> Iterator[pa.Array]:
    """Give the floating-point numbers of a column, whatever they are nested in."""
    kind: Any = column.type
    if pa.types.is_floating(kind):
        yield column
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _floats(part)
    elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _floats(column.flatten())


def _tell(found: Results, column: str, rows: NDArray[np.int64], what: str) -> None:
    rows = np.unique(rows)
    if len(rows):
        found.wrong.append(
            f"column {column}: {counted(len(rows), 'row')} with {what}, the first is row {rows[0]} of the part"
        )
