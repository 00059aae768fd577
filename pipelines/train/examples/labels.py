"""Read the labels of rows, by objective, and where they belong among the tokens of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.errors import ShardError
from pipelines.formatting import format_count
from pipelines.training_job import AnswerSettings, ChoiceSettings, SequenceSettings, TokenSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipelines.training_job import ObjectiveSettings
    from xlm_core.decoding import Sequences


class RowLabels(NamedTuple):
    """The labels of one row; see `EXAMPLES`."""

    names: list[str] = []  # noqa: RUF012
    values: list[float] = []  # noqa: RUF012
    positions: list[int] = []  # noqa: RUF012


def find_problem(settings: SequenceSettings, label: pa.DataType) -> str:
    """Return what a column of labels asks for: single-label, multi-label or regression."""
    if settings.problem != "auto":
        return settings.problem
    is_list = pa.types.is_list(label) or pa.types.is_large_list(label)
    if pa.types.is_floating(label.value_type if is_list else label):
        return "regression"
    return "multi-label" if is_list else "single-label"


def read_labels(
    settings: ObjectiveSettings, rows: pa.RecordBatch, sequences: Sequences, describe: Callable[[int], str]
) -> Sequence[RowLabels | None]:
    """Read the labels of rows.

    Args:
        settings: the objective.
        rows: as the tokenize stage passes them on, with the columns of labels.
        sequences: their tokens.
        describe: names a row, by its index, in messages.

    Returns:
        The labels of each row; None if its answer was truncated.

    Raises:
        ShardError: a row has no label, or its labels do not fit its text.
    """
    if isinstance(settings, TokenSettings):
        return _read_word_labels(settings, rows, sequences, describe)
    if isinstance(settings, AnswerSettings):
        return _read_answers(settings, rows, sequences, describe)
    if isinstance(settings, ChoiceSettings):
        return _read_choices(settings, rows, sequences, describe)
    if isinstance(settings, SequenceSettings):
        return _read_row_labels(settings, rows, describe)
    return [RowLabels()] * len(rows)


def _read_row_labels(
    settings: SequenceSettings, rows: pa.RecordBatch, describe: Callable[[int], str]
) -> list[RowLabels]:
    column = rows.column(settings.label)
    problem = find_problem(settings, column.type)
    found: list[RowLabels] = []
    for i, value in enumerate(column.to_pylist()):
        if value is None:
            raise ShardError(f"{describe(i)}: {settings.label} is null, expected a label; leave it out with a filter")
        values: list[Any] = value if isinstance(value, list) else [value]
        if any(item is None for item in values):
            raise ShardError(f"{describe(i)}: {settings.label} has a null among its labels")
        if problem == "regression":
            found.append(RowLabels(values=[float(item) for item in values]))
        elif problem == "single-label" and len(values) != 1:
            raise ShardError(f"{describe(i)}: {settings.label} has {format_count(len(values), 'label')}, expected 1")
        else:
            found.append(RowLabels(names=[str(item) for item in values]))
    return found


def _read_word_labels(
    settings: TokenSettings, rows: pa.RecordBatch, sequences: Sequences, describe: Callable[[int], str]
) -> list[RowLabels]:
    labels = rows.column(settings.label).to_pylist()
    num_words = _list_lengths(rows.column(settings.input.text_columns[0]))
    word_ids = sequences.word_ids
    is_first = np.ones(len(word_ids), np.bool_)
    is_first[1:] = word_ids[1:] != word_ids[:-1]
    is_first &= word_ids >= 0
    found: list[RowLabels] = []
    token_offsets = sequences.cu_seqlens[sequences.row_offsets].tolist()
    for i, names in enumerate(labels):
        if names is None or len(names) != num_words[i]:
            got = "null" if names is None else format_count(len(names), "label")
            raise ShardError(f"{describe(i)}: {got} in {settings.label}, expected one for each of {num_words[i]} words")
        start, stop = token_offsets[i : i + 2]
        positions = np.flatnonzero(is_first[start:stop])
        words = word_ids[start:stop][positions].tolist()
        # a null label is not learned
        kept = [(names[word], position) for word, position in zip(words, positions.tolist(), strict=True)]
        kept = [(name, position) for name, position in kept if name is not None]
        found.append(RowLabels([str(name) for name, _ in kept], [], [position for _, position in kept]))
    return found


def _read_choices(
    settings: ChoiceSettings, rows: pa.RecordBatch, sequences: Sequences, describe: Callable[[int], str]
) -> list[RowLabels]:
    num_choices = np.diff(sequences.row_offsets).tolist()
    found: list[RowLabels] = []
    for i, value in enumerate(rows.column(settings.label).to_pylist()):
        if not isinstance(value, int) or not 0 <= value < num_choices[i]:
            got = f"is {value}" if value is None or isinstance(value, int) else "is not a whole number"
            raise ShardError(f"{describe(i)}: {settings.label} {got}, expected 0 to {num_choices[i] - 1}")
        found.append(RowLabels(values=[float(value)]))
    return found


def _read_answers(
    settings: AnswerSettings, rows: pa.RecordBatch, sequences: Sequences, describe: Callable[[int], str]
) -> list[RowLabels | None]:
    """Find the tokens of each answer. A row has one sequence."""
    answers = rows.column(settings.answer).to_pylist()
    starts = rows.column(settings.answer_start).to_pylist()
    contexts = rows.column(settings.input.text_columns[1]).to_pylist()
    cu_seqlens = sequences.cu_seqlens.tolist()
    found: list[RowLabels | None] = []
    for i, (answer, start) in enumerate(zip(answers, starts, strict=True)):
        if not answer:
            found.append(RowLabels(positions=[-1, -1]))
            continue
        if start is None or contexts[i][start : start + len(answer)] != answer:
            raise ShardError(
                f"{describe(i)}: {settings.answer} is not in {settings.input.text_columns[1]} at "
                f"{settings.answer_start} {start}; positions count characters from 0"
            )
        first, stop = cu_seqlens[i], cu_seqlens[i + 1]
        tokens = _find_answer(sequences, first, stop, start, start + len(answer))
        found.append(None if tokens is None else RowLabels(positions=tokens))
    return found


def _find_answer(sequences: Sequences, first: int, stop: int, start: int, end: int) -> list[int] | None:
    """Return the first and the last token of the context that overlap some characters; None if some are truncated."""
    word_ids, offsets = sequences.word_ids[first:stop], sequences.offsets[first:stop]
    special = np.flatnonzero(word_ids < 0)
    context = np.arange(len(word_ids)) > special[1]  # after the token between question and context
    overlaps: NDArray[np.int64] = np.flatnonzero(
        context & (word_ids >= 0) & (offsets[:, 0] < end) & (offsets[:, 1] > start)
    )
    if not len(overlaps) or offsets[overlaps[-1], 1] < end:
        return None
    return [int(overlaps[0]), int(overlaps[-1])]


def _list_lengths(column: pa.Array) -> list[int]:
    return np.diff(column.offsets.to_numpy()).tolist()
