"""Measures of token-classification: accuracy and F1 of the labels of given words, and F1 of entities.

Shapes: N rows, W words, C labels, T types of entities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.columns import flatten, list_lengths
from pipelines.evaluation.measures.labels import (
    LabelNumbers,
    accuracy,
    count_confusion,
    count_entries,
    is_label,
    macro_f1,
    micro_scores,
)
from pipelines.evaluation.measures.measure import Confidences, Confusion, Measure, Metric
from pipelines.evaluation.resampling import Entries
from pipelines.formatting import excerpt, format_count
from pipelines.rows import is_list, is_words
from xlm_core.decoding import OUTSIDE, find_entities, parse_label_scheme
from xlm_core.ragged import cumulative_lengths, ragged_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Matched
    from pipelines.tasks import TokenClassification
    from xlm_core.decoding import Entities, LabelScheme

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

WORD_COLUMNS = ("tokens", "words")  # usual names of a column with the gold words
LABEL_COLUMNS = ("labels", "tags", "upos", "ner_tags", "pos_tags", "label", "gold")
_ENTITY_METRICS = tuple(Metric(f"entity {name}") for name in ("precision", "recall", "F1"))
_WORDS_ADVICE = "run the job on the gold words: input.text must be a column with lists of words"


@dataclass
class _Mismatch:
    """Rows of which something differs between the output and the gold labels."""

    rows: int = 0
    example: str = ""

    def add(self, ids: pa.Array, differs: NDArray[np.bool_], describe: str) -> None:
        """Count rows; `describe` says how the first one differs."""
        if differs.any() and not self.rows:
            self.example = f"{excerpt(ids[int(differs.argmax())].as_py())}: {describe}"
        self.rows += int(differs.sum())


class _Words(NamedTuple):
    """Gold words and what was predicted for them: all arrays have length W."""

    gold: NDArray[np.int64]
    predicted: NDArray[np.int64]
    score: NDArray[np.float32]


class WordLabels(Measure):
    """Accuracy and macro-F1 over gold words, as scikit-learn computes them.

    If the labels mark entities (B-PER, I-PER, O), also precision, recall and F1 of entities, as seqeval computes them.
    A word without a predicted label, because it has no tokens or was cut off, is wrong.
    """

    gold_names: ClassVar[tuple[str, ...]] = LABEL_COLUMNS
    items: ClassVar[str | None] = "words"

    def __init__(self, task: TokenClassification, schema: pa.Schema):
        (self._column,) = task.columns
        self._numbers = LabelNumbers.of(schema.field(self._column))
        self._parts: list[tuple[NDArray[np.int64], _Words]] = []
        self._lengths, self._texts = _Mismatch(), _Mismatch()
        marks_entities = parse_label_scheme(self._numbers.names).name != "plain"
        self.metrics = (Metric("accuracy"), Metric("macro-F1"), *(_ENTITY_METRICS if marks_entities else ()))
        self._marks_entities = marks_entities

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
        gold = to_column(rows.gold, rows.gold.column_names[0])
        words = to_column(rows.results, self._column)
        lengths, gold_lengths = list_lengths(words), list_lengths(gold)
        differs = lengths != gold_lengths
        num_words, num_gold = int(lengths[differs.argmax()]), int(gold_lengths[differs.argmax()])
        shown = f"{format_count(num_words, 'word')} and {format_count(num_gold, 'gold label')}"
        self._lengths.add(rows.ids, differs, shown)
        if differs.any():
            return
        items = flatten(words)
        self._compare_words(rows, items, lengths)
        predicted = self._numbers.encode(pc.struct_field(items, "label"))
        score = pc.struct_field(items, "score").fill_null(np.nan).to_numpy(zero_copy_only=False)
        self._parts.append((lengths, _Words(self._numbers.encode(flatten(gold)), predicted, score)))

    def _compare_words(self, rows: Matched, items: pa.Array, lengths: NDArray[np.int64]) -> None:
        """Compare the texts of words with the gold words, if there are any with as many words."""
        assert rows.gold is not None
        if len(rows.gold.column_names) < 2 or not is_words(rows.gold.schema.field(1).type):
            return
        gold_words = to_column(rows.gold, rows.gold.column_names[1])
        if (list_lengths(gold_words) != lengths).any():
            return
        texts, expected = pc.struct_field(items, "text"), flatten(gold_words).fill_null("")
        is_other = pc.not_equal(texts.cast(pa.large_string()), expected.cast(pa.large_string()))
        is_other = is_other.to_numpy(zero_copy_only=False)
        if not is_other.any():
            return
        number = int(is_other.argmax())
        row_of_word = np.repeat(np.arange(len(lengths)), lengths)
        differs = np.bincount(row_of_word[is_other], minlength=len(lengths)) > 0
        in_row = number - int(np.searchsorted(row_of_word, row_of_word[number]))
        self._texts.add(rows.ids, differs, f"word {in_row + 1} is another one")

    def problem(self) -> str | None:
        """See `Measure`."""
        for mismatch, what in ((self._lengths, "another number of words"), (self._texts, "other words")):
            if mismatch.rows:
                rows = f"{format_count(mismatch.rows, 'row')} of the output {'has' if mismatch.rows == 1 else 'have'}"
                return f"{rows} {what} than the gold labels ({mismatch.example}); {_WORDS_ADVICE}"
        return None

    def doubt(self) -> str | None:
        """See `Measure`."""
        return self._numbers.describe_unknown()

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        lengths, words = zip(*self._parts, strict=True)
        self._offsets = cumulative_lengths(np.concatenate(lengths))
        self._words = _Words(*(np.concatenate(part) for part in zip(*words, strict=True)))
        # the last label, which no label at all refers to with -1
        self._scheme = parse_label_scheme([*self._numbers.names, OUTSIDE])
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3 * (len(self._numbers.names) + (len(self._scheme.types) if self._marks_entities else 0))

    def _select(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], _Words]:
        """Return the words of rows, and the position of the row of each word in the index."""
        words = ragged_positions(self._offsets, rows)
        row = np.repeat(np.arange(len(rows)), np.diff(self._offsets)[rows])
        gold, predicted, score = self._words
        return row, _Words(gold[words], predicted[words], score[words])

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`. The sums of labels come first, then those of types of entities."""
        row, words = self._select(rows)
        num_labels = len(self._numbers.names)
        entries = count_entries(row, words.gold, words.predicted, num_labels)
        if not self._marks_entities:
            return entries
        entities = _entity_entries(row, words, self._scheme)
        columns = np.concatenate([entries.column, 3 * num_labels + entities.column])
        return Entries(np.concatenate([entries.row, entities.row]), columns, np.ones(len(columns)))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        num_labels = len(self._numbers.names)
        metrics = [accuracy(sums, num_labels), macro_f1(sums, num_labels)]
        if self._marks_entities:
            metrics += micro_scores(sums[..., 3 * num_labels :], len(self._scheme.types))
        return np.stack(metrics, -1)

    def num_items(self, sums_K: NDArray[np.float64]) -> int:
        """See `Measure`."""
        num_labels = len(self._numbers.names)
        return int(sums_K[2 * num_labels : 3 * num_labels].sum())

    def confidences(self, rows: NDArray[np.int64]) -> Confidences:
        """See `Measure`. Of words without a label there are none."""
        words = self._select(rows)[1]
        has_label = words.predicted >= 0
        return Confidences(words.score[has_label], (words.gold == words.predicted)[has_label])

    def confusion(self, rows: NDArray[np.int64]) -> Confusion:
        """See `Measure`."""
        words = self._select(rows)[1]
        return count_confusion(self._numbers.names, words.gold, words.predicted)


def _entity_entries(row: NDArray[np.int64], words: _Words, scheme: LabelScheme) -> Entries:
    """Return what entities add to 3 T sums: right, predicted and gold, by type."""
    ones = np.ones(len(row), np.float32)
    gold, predicted = (find_entities(labels, ones, row, scheme) for labels in (words.gold, words.predicted))
    num_types = len(scheme.types)
    right = _is_same_entity(gold, predicted, len(row))
    columns = [predicted.type[right], num_types + predicted.type, 2 * num_types + gold.type]
    rows = [row[predicted.first[right]], row[predicted.first], row[gold.first]]
    column = np.concatenate(columns)
    return Entries(np.concatenate(rows), column, np.ones(len(column)))


def _is_same_entity(gold: Entities, predicted: Entities, num_words: int) -> NDArray[np.bool_]:
    """Return for each predicted entity whether a gold entity has the same words and type; entities do not overlap."""
    last, kind = np.full(num_words, -1), np.full(num_words, -1)
    last[gold.first], kind[gold.first] = gold.last, gold.type
    return (last[predicted.first] == predicted.last) & (kind[predicted.first] == predicted.type)
