"""question-answering: the best spans of each row's context as answers to its question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.formatting import truncate
from pipelines.results import (
    Numbers,
    compare_best,
    compare_numbers,
    labels_of,
    list_of,
    numbers_of,
    render_text,
    required,
    span_column,
    verify_spans,
)
from pipelines.rows import decode_texts, join_words
from pipelines.settings import Count
from pipelines.tasks.task import HeadTaskSettings, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, ResultFindings, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import QuestionAnsweringHead, QuestionAnsweringSimpleHead, XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, FoundAnswers, Model

_MAX_RENDERED_CHARS = 30  # of an answer, so that several fit on a line
_ANSWER = pa.struct(
    [
        required("text", pa.string()),
        required("score", pa.float32()),
        required("start", pa.int32()),
        required("end", pa.int32()),
    ]
)


class QuestionAnswering(HeadTaskSettings):
    """Answer each row's question from its context. Writes columns `answers` and `no_answer_score`.

    `input.text` is [question, context].
    """

    kind: ClassVar[str] = "question-answering"
    needs_offsets: ClassVar[bool] = True
    quoted_text: ClassVar[int | None] = 1

    top_k: Count = Field(default=1, description="Maximum number of answers for each row. The best comes first.")
    max_answer_tokens: Count = Field(default=30, description="Maximum number of tokens in an answer.")

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {
            "answers": compare_best("the text of the best answer", ignored=frozenset({"start", "end"})),
            "no_answer_score": compare_numbers("the number"),
        }

    def check_text_columns(self, num_columns: int) -> str | None:
        """See `TaskSettings`."""
        return None if num_columns == 2 else "question-answering needs two columns, [question, context]"

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> QuestionAnsweringTask:
        """See `TaskSettings`. The head is one of two kinds, whichever the checkpoint contains."""
        from xlm_core.inference import answering_kind, check_answering

        kind = answering_kind(head_folder)
        check_answering(kind, self.read_head_config(kind, head_folder, trunk))
        return QuestionAnsweringTask(self, text_fields[1], uses_beams=kind == "question-answering")

    def verify(self, rows: pa.Table, texts: Sequence[str] | None, findings: ResultFindings) -> None:
        """See `TaskSettings`. Each answer must have the text between its offsets."""
        super().verify(rows, texts, findings)
        answers = self.column("answers")
        verify_spans(findings, answers, rows[answers].combine_chunks(), texts)

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`. The answers share a line with the score of having no answer."""
        answers = self.column("answers")
        best, *rest = [_render_answer(answer) for answer in row[answers]] or ["none"]
        yield answers, "; ".join([f"{best} (no answer {row[self.column('no_answer_score')]:.2f})", *rest])

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`. Of each row, the best answer counts."""
        name, no_answer = self.column("answers"), self.column("no_answer_score")
        best = [answers[0] if answers else None for answers in rows[name].to_pylist()]
        answered = [answer is not None and bool(answer["text"]) for answer in best]
        yield labels_of(name, pa.array(["answer" if found else "no answer" for found in answered], pa.string()))
        scores = [answer["score"] for answer in best if answer is not None]
        found = np.array([i for i, answer in enumerate(best) if answer is not None], np.int64)
        yield Numbers(f"{name}.score", found, np.array(scores, np.float64))
        yield numbers_of(no_answer, rows[no_answer].chunk(0))


def _render_answer(answer: dict[str, Any]) -> str:
    text = truncate(render_text(answer["text"]), _MAX_RENDERED_CHARS)
    return f"{text} {answer['score']:.2f} [{answer['start']}:{answer['end']}]"


class QuestionAnsweringTask(Task["FoundAnswers"]):
    """The task of `QuestionAnswering`.

    Args:
        settings: the task's settings.
        context: the column with the context.
        uses_beams: whether the head searches spans with beams (`QuestionAnsweringHead`), or scores starts and ends
            independently (`QuestionAnsweringSimpleHead`).
    """

    def __init__(self, settings: QuestionAnswering, context: pa.Field, *, uses_beams: bool):
        self.settings, self.uses_beams, self.context_column = settings, uses_beams, context.name
        self.head: QuestionAnsweringHead | QuestionAnsweringSimpleHead | None = None
        self.cls_token_id = -1  # set by `load`

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        answers, no_answer = self.settings.columns
        metadata = {"offsets": f"characters of {self.context_column}, end exclusive"}
        return [required(answers, list_of(_ANSWER), metadata), required(no_answer, pa.float32())]

    def load(self, model: Model, head_folder: Path) -> None:
        """See `Task`."""
        from xlm_core import QuestionAnsweringHead, QuestionAnsweringSimpleHead
        from xlm_core.inference import load_head

        head_class = QuestionAnsweringHead if self.uses_beams else QuestionAnsweringSimpleHead
        self.head = load_head(head_class, head_folder, model)
        self.cls_token_id = model.tokenizer.cls_token_id

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[FoundAnswers]:
        """See `Task`."""
        from xlm_core.inference import answer_collector

        assert self.head is not None
        return answer_collector(
            sequences,
            self.head,
            self._contexts(rows),
            cls_token_id=self.cls_token_id,
            top_k=self.settings.top_k,
            max_answer_tokens=self.settings.max_answer_tokens,
        )

    def columns(self, result: FoundAnswers, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        row, start, end, score, no_answer = result
        answers = span_column(list_of(_ANSWER), self._contexts(rows), row, start, end, score=score)
        return [answers, pa.array(no_answer, pa.float32())]

    def _contexts(self, rows: pa.RecordBatch) -> list[str]:
        return [join_words(text or "") for text in decode_texts(rows.column(self.context_column))[0]]
