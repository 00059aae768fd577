"""Measure of question-answering: exact match and F1 of the best answer. Shapes: N rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.answer_rules import exact_match, f1
from pipelines.evaluation.measures.columns import first_items
from pipelines.evaluation.measures.measure import Confidences, Measure, Metric, ratio
from pipelines.evaluation.measures.row_values import dense_entries
from pipelines.rows import is_list, is_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Matched
    from pipelines.evaluation.resampling import Entries
    from pipelines.tasks import QuestionAnswering

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class AnswerMatch(Measure):
    """Exact match and F1, by the rules of SQuAD for English and of MLQA for other languages.

    If the gold labels contain questions without an answer, "no answer" is predicted where its score is higher than that
    of the best answer; otherwise, the best answer counts.
    """

    metrics = (Metric("exact match"), Metric("F1"))
    gold_names: ClassVar[tuple[str, ...]] = ("answers", "answer_text", "answer", "gold")

    def __init__(self, task: QuestionAnswering, schema: pa.Schema):
        self._answers, self._no_answer = task.column("answers"), task.column("no_answer_score")
        self._texts: list[str] = []
        self._golds: list[list[str]] = []
        self._langs: list[str] = []
        self._parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._answers, self._no_answer]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        return None if _has_texts(field.type) else "answers: strings, lists of strings, or SQuAD's {text, answer_start}"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        found, best = first_items(to_column(rows.results, self._answers))
        score = np.zeros(len(rows.ids))
        score[found] = pc.struct_field(best, "score").to_numpy(zero_copy_only=False)
        texts = np.full(len(rows.ids), "", object)
        texts[found] = pc.struct_field(best, "text").to_pylist()
        self._texts += texts.tolist()
        self._golds += [_to_texts(value) for value in to_column(rows.gold, rows.gold.column_names[0]).to_pylist()]
        self._langs += ["" if lang is None else lang for lang in (rows.langs or pa.nulls(len(texts))).to_pylist()]
        no_answer = to_column(rows.results, self._no_answer).to_numpy(zero_copy_only=False)
        self._parts.append((score, no_answer.astype(np.float64)))

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`."""
        self._score, no_answer = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        if any(not any(golds) for golds in self._golds):
            for row in np.flatnonzero(no_answer > self._score).tolist():
                self._texts[row], self._score[row] = "", no_answer[row]
        scored = zip(self._texts, self._golds, self._langs, strict=True)
        values = [(exact_match(*args), f1(*args)) for args in scored]
        self._values_N2 = np.array(values, np.float64).reshape(-1, 2)
        return ids, langs

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        return dense_entries(np.column_stack([self._values_N2[rows], np.ones(len(rows))]))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        return ratio(sums[..., :2], sums[..., 2:])

    def decisions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """See `Measure`."""
        return self._values_N2[rows, 0] == 1

    def confidences(self, rows: NDArray[np.int64]) -> Confidences:
        """See `Measure`. What is right is an exact match."""
        return Confidences(np.clip(self._score[rows], 0, 1), self.decisions(rows))


def _has_texts(data_type: pa.DataType) -> bool:
    """Return whether a column of this type contains answers."""
    if pa.types.is_struct(data_type):
        return data_type.get_field_index("text") >= 0 and _has_texts(data_type.field("text").type)
    return is_text(data_type) or (is_list(data_type) and _has_texts(data_type.value_type))


def _to_texts(value: Any) -> list[str]:
    """Return the gold answers of a row; an empty one if there is none."""
    match value:
        case str():
            return [value]
        case dict():
            return _to_texts(value["text"])
        case _:
            return [text for item in value for text in _to_texts(item)] or [""]
