"""Read files of examples into the arrays that objectives learn from.

Letters: N rows, S sequences, T tokens, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.thread_map import map_in_threads
from pipelines.training_job import AnswerSettings, ChoiceSettings, SequenceSettings, TokenSettings
from xlm_core.decoding import Sequences
from xlm_core.heads import NO_LABEL
from xlm_core.ragged import cumulative_lengths
from xlm_core.training import Examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location
    from pipelines.training_job import ObjectiveSettings

_NOTHING = np.empty(0, np.int32)
_MAX_TOKENS = 2**31  # of one objective; positions of tokens are 32-bit numbers
_THREADS = 16
_NAMED, _MAX_LABELS = 5, 50  # labels in a message


def read_example_files(folder: Location, shards: Iterable[str]) -> pa.Table:
    """Read the files of some shards, in the order of the shards."""
    files = [folder / f"{shard}.parquet" for shard in shards]
    return pa.concat_tables(map_in_threads(lambda file: file.read_table(), files, _THREADS))


def find_labels(table: pa.Table) -> list[str]:
    """Return the different labels of examples, in the order of their characters."""
    names, _ = _label_names(table)
    return sorted(names.unique().to_pylist())


def find_langs(table: pa.Table, id2lang: Mapping[int, str] | None) -> list[str] | None:
    """Return the different languages of examples, in the order of their ids; None if one of them is not known."""
    ids = np.unique(_flatten(table["langs"])[0]).tolist()
    return [id2lang[lang] for lang in ids] if id2lang and id2lang.keys() >= set(ids) else None


def to_examples(settings: ObjectiveSettings, table: pa.Table, labels: Sequence[str], problem: str | None) -> Examples:
    """Convert a table of examples.

    Args:
        settings: the objective.
        table: with the schema `EXAMPLES`.
        labels: the labels of the head, by id.
        problem: of text classification.

    Raises:
        FatalError: there is no example, or one with a label that is not among the labels.
    """
    if not len(table):
        raise FatalError(f"{settings.title}, dev: no rows; correct the path or the filter")
    if sum(len(chunk.values) for chunk in table["input_ids"].chunks) >= _MAX_TOKENS:
        raise FatalError(f"{settings.title}: more than {_MAX_TOKENS:,} tokens; leave rows out with a filter")
    sequences = _to_sequences(table)
    if isinstance(settings, TokenSettings):
        ids, rows = _label_ids(settings.title, table, labels)
        positions, _ = _flatten(table["label_positions"])
        starts = sequences.cu_seqlens[sequences.row_offsets[:-1]]
        targets = np.full(len(sequences.input_ids), NO_LABEL, np.int64)
        targets[starts[rows] + positions] = ids
        return Examples(sequences, targets, per_token=True)
    if isinstance(settings, SequenceSettings):
        return Examples(sequences, _row_targets(settings.title, table, labels, problem))
    if isinstance(settings, ChoiceSettings):
        return Examples(sequences, _flatten(table["label_values"])[0].astype(np.int64))
    if isinstance(settings, AnswerSettings):
        return Examples(sequences, _flatten(table["label_positions"])[0].astype(np.int64).reshape(-1, 2))
    return Examples(sequences)


def _row_targets(title: str, table: pa.Table, labels: Sequence[str], problem: str | None) -> NDArray[Any]:
    if problem == "regression":
        values, offsets = _flatten(table["label_values"])
        widths = np.diff(offsets)
        if (widths != widths[0]).any():
            low, high = widths.min(), widths.max()
            raise FatalError(f"{title}: rows have {low} to {high} values, expected the same number in each row")
        return values.astype(np.float32).reshape(len(table), -1)
    ids, rows = _label_ids(title, table, labels)
    if problem == "single-label":
        return ids
    targets = np.zeros((len(table), len(labels)), np.float32)
    targets[rows, ids] = 1.0
    return targets


def _label_ids(title: str, table: pa.Table, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of all labels, and the row of each."""
    names, offsets = _label_names(table)
    encoded = names.dictionary_encode()
    found: list[str] = encoded.dictionary.to_pylist()
    id_of = {label: i for i, label in enumerate(labels)}
    if unknown := sorted(set(found) - id_of.keys()):
        shown = ", ".join(unknown[:_NAMED]) + (" …" if len(unknown) > _NAMED else "")
        raise FatalError(
            f"{title}: the data has labels that the head does not have: {shown}; correct them, leave these rows out "
            f"with a filter, or train a new head; the head has {', '.join(labels[:_MAX_LABELS])}"
        )
    ids = np.array([id_of[label] for label in found], np.int64)
    return ids[encoded.indices.to_numpy()], np.repeat(np.arange(len(table)), np.diff(offsets))


def _label_names(table: pa.Table) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return all names of labels, and the row offsets [N + 1]."""
    column = table["label_names"].combine_chunks()
    offsets = column.offsets.to_numpy()
    return column.values[offsets[0] : offsets[-1]], offsets


def _to_sequences(table: pa.Table) -> Sequences:
    input_ids, _ = _flatten(table["input_ids"])
    lengths, row_offsets = _flatten(table["lengths"])
    langs, _ = _flatten(table["langs"])
    return Sequences(
        input_ids,
        cumulative_lengths(lengths),
        langs,
        row_offsets.astype(np.int32),
        np.zeros(len(lengths), np.int32),
        _NOTHING,
        _NOTHING.reshape(-1, 2),
    )


def _flatten(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the values of a column of lists, concatenated, and the row offsets [N + 1]."""
    values: list[NDArray[Any]] = []
    lengths: list[NDArray[Any]] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        values.append(chunk.values[offsets[0] : offsets[-1]].to_numpy(zero_copy_only=False))
        lengths.append(np.diff(offsets))
    sizes = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    return np.concatenate(values), np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
