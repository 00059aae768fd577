"""Measure of token-classification with `aggregate: entity`: F1 of entities.

Shapes: N rows, T types, E entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.columns import flatten, list_lengths
from pipelines.evaluation.measures.labels import LabelNumbers, is_label, macro_f1, micro_scores
from pipelines.evaluation.measures.measure import Measure, Metric
from pipelines.evaluation.measures.words import LABEL_COLUMNS, WORD_COLUMNS
from pipelines.evaluation.resampling import Entries
from pipelines.formatting import format_count
from pipelines.rows import is_list, is_words
from xlm_core.decoding import find_entities, parse_label_scheme
from xlm_core.ragged import cumulative_lengths, ragged_positions

if TYPE_CHECKING:
    from pipelines.evaluation.matching import Matched
    from pipelines.tasks import TokenClassification
    from xlm_core.decoding import SchemeName

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class EntitySpans(Measure):
    """Precision, recall and F1 of entities, which are right if their type and both ends are.

    The gold labels are those of words, in a column of the gold labels, too. Positions are characters of the words
    joined by spaces, as in the output of a job on lists of words.
    """

    metrics = (Metric("entity precision"), Metric("entity recall"), Metric("entity F1"), Metric("macro-F1 of types"))
    gold_names: ClassVar[tuple[str, ...]] = LABEL_COLUMNS
    items: ClassVar[str | None] = "entities"

    def __init__(self, task: TokenClassification, schema: pa.Schema):
        (self._column,) = task.columns
        self._labels = LabelNumbers.of(schema.field(self._column))
        self._scheme_name: SchemeName = task.scheme
        self._types: dict[str, int] = {}
        self._num_rows = 0
        self._mismatched = 0
        self._has_words = True
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # [E, 4] each: row, start, end, type

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._column]

    def gold_columns(self, names: list[str]) -> list[str]:
        """Return the column with the gold words, if there is one."""
        return [name for name in WORD_COLUMNS if name in names][:1]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        is_labels = is_list(field.type) and is_label(field.type.value_type)
        return None if is_labels else "lists with a label for each word"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        if len(rows.gold.column_names) < 2 or not is_words(rows.gold.schema.field(1).type):
            self._has_words = False
            return
        labels, words = (to_column(rows.gold, name) for name in rows.gold.column_names[:2])
        num_words = list_lengths(words)
        self._mismatched += int((num_words != list_lengths(labels)).sum())
        if self._mismatched:
            return
        row = np.repeat(np.arange(len(num_words)), num_words)
        ends = np.cumsum(pc.utf8_length(flatten(words).fill_null("")).to_numpy(zero_copy_only=False) + 1)
        starts = np.append(0, ends)[:-1]
        first_word = np.cumsum(num_words) - num_words
        row_start = np.append(0, ends)[first_word][row] if len(row) else row
        gold_numbers = self._labels.encode(flatten(labels))
        scheme = parse_label_scheme(self._labels.names, self._scheme_name)
        found = find_entities(gold_numbers, np.ones(len(row), np.float32), row, scheme)
        types = np.array([self._type(name) for name in scheme.types], np.int64)
        first, last = found.first, found.last
        span = (starts[first] - row_start[first], ends[last] - 1 - row_start[last])
        gold = np.stack([self._num_rows + row[first], *span, types[found.type]], 1)
        self._parts.append((gold, self._predicted(rows)))
        self._num_rows += len(num_words)

    def _predicted(self, rows: Matched) -> NDArray[np.int64]:
        column = to_column(rows.results, self._column)
        items, lengths = flatten(column), list_lengths(column)
        row = self._num_rows + np.repeat(np.arange(len(lengths)), lengths)
        start, end = (pc.struct_field(items, name).to_numpy(zero_copy_only=False) for name in ("start", "end"))
        kind = np.array([self._type(name) for name in pc.struct_field(items, "label").to_pylist()], np.int64)
        return np.stack([row, start, end, kind], 1).astype(np.int64)

    def _type(self, name: str) -> int:
        return self._types.setdefault(name, len(self._types))

    def problem(self) -> str | None:
        """See `Measure`."""
        if not self._has_words:
            return f"entities are matched by their positions: the gold labels need a column {' or '.join(WORD_COLUMNS)}"
        if self._mismatched:
            return f"{format_count(self._mismatched, 'row')} with another number of gold words than of gold labels"
        return None

    def doubt(self) -> str | None:
        """See `Measure`."""
        return self._labels.describe_unknown()

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        gold, predicted = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        _, inverse = np.unique(np.concatenate([gold, predicted]), axis=0, return_inverse=True)
        right = predicted[np.isin(inverse[len(gold) :], inverse[: len(gold)])]
        self._entities = (right, predicted, gold)
        counts = [np.bincount(entities[:, 0], minlength=len(ids)) for entities in self._entities]
        self._offsets = [cumulative_lengths(count) for count in counts]
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3 * len(self._types)

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        row, column = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        for i, (entities, offsets) in enumerate(zip(self._entities, self._offsets, strict=True)):
            row.append(np.repeat(np.arange(len(rows)), np.diff(offsets)[rows]))
            column.append(i * len(self._types) + entities[ragged_positions(offsets, rows), 3])
        columns = np.concatenate(column)
        return Entries(np.concatenate(row), columns, np.ones(len(columns)))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        num_types = len(self._types)
        return np.stack([*micro_scores(sums, num_types), macro_f1(sums, num_types)], -1)

    def num_items(self, sums_K: NDArray[np.float64]) -> int:
        """See `Measure`."""
        return int(sums_K[2 * len(self._types) :].sum())
