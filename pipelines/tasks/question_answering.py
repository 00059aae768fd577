"""question-answering: the best spans of each row's context as answers to its question.

Shapes: T tokens and S sequences of a shard, K spans that the beam search returns for a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.errors import FatalError
from pipelines.formatting import truncate
from pipelines.results import (
    compare_best,
    compare_numbers,
    list_of,
    render_text,
    required,
    span_column,
    verify_spans,
)
from pipelines.rows import decode_texts, join_words
from pipelines.settings import Count
from pipelines.tasks.task import HeadTaskSettings, Task
from xlm_core.decoding import (
    attach_marks,
    beam_candidates,
    find_class_tokens,
    is_in_text,
    merge_answers,
    no_answer_scores,
    simple_candidates,
)
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.results import CompareFields, ResultFindings
    from pipelines.rows import Sequences
    from pipelines.storage import StoreSettings
    from pipelines.tasks.model import Model, Pass
    from pipelines.tasks.task import Collector
    from xlm_core import QuestionAnsweringHead, QuestionAnsweringSimpleHead, XLMConfig
    from xlm_core.decoding import Candidates

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
        from xlm_core.checkpoint import inspect_checkpoint

        uses_beams = "question-answering" in inspect_checkpoint(head_folder).heads
        kind = "question-answering" if uses_beams else "question-answering-simple"
        head = self.read_head_config(kind, head_folder, trunk)
        return QuestionAnsweringTask(self, head, text_fields[1], uses_beams=uses_beams)

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


def _render_answer(answer: dict[str, Any]) -> str:
    text = truncate(render_text(answer["text"]), _MAX_RENDERED_CHARS)
    return f"{text} {answer['score']:.2f} [{answer['start']}:{answer['end']}]"


class QuestionAnsweringTask(Task):
    """The task of `QuestionAnswering`.

    Args:
        settings: the task's settings.
        head: the configuration of the head.
        context: the column with the context.
        uses_beams: whether the head searches spans with beams (`QuestionAnsweringHead`), or scores starts and ends
            independently (`QuestionAnsweringSimpleHead`).
    """

    def __init__(self, settings: QuestionAnswering, head: XLMConfig, context: pa.Field, *, uses_beams: bool):
        if not uses_beams and head.num_labels != 2:
            raise FatalError(
                f"question-answering: the head has {head.num_labels} outputs, expected 2, for start and end; name a "
                "head that was trained to answer questions"
            )
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
        from pipelines.tasks.model import load_head
        from xlm_core import QuestionAnsweringHead, QuestionAnsweringSimpleHead

        head_class = QuestionAnsweringHead if self.uses_beams else QuestionAnsweringSimpleHead
        self.head = load_head(head_class, head_folder, model)
        self.cls_token_id = model.tokenizer.cls_token_id

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _BeamCollector(self, shard) if self.uses_beams else _SimpleCollector(self, shard)


class _AnswerCollector:
    """The common part of both collectors. Only tokens of the context can be answers."""

    def __init__(self, task: QuestionAnsweringTask, shard: Sequences):
        self._task, self._shard = task, shard
        self._allowed_T = is_in_text(shard.word_ids, shard.cu_seqlens, "last")
        self._cls_tokens_S = find_class_tokens(shard.input_ids, shard.cu_seqlens, task.cls_token_id)

    def _build_columns(self, candidates: Candidates, no_answer_S: NDArray[np.float64]) -> list[pa.Array]:
        shard, rows = self._shard, self._shard.rows
        contexts = [join_words(text or "") for text in decode_texts(rows.column(self._task.context_column))[0]]
        tokens = np.flatnonzero(self._allowed_T)
        offsets = attach_marks(shard.offsets, tokens, shard.row_of_token[tokens], contexts)
        answers = merge_answers(candidates, shard.row_ids, offsets, self._task.settings.top_k)
        score = answers.score.astype(np.float32)
        column = span_column(list_of(_ANSWER), contexts, answers.row, answers.start, answers.end, score=score)
        no_answer = no_answer_scores(no_answer_S, shard.row_ids, len(rows))
        return [column, pa.array(no_answer.astype(np.float32), pa.float32())]


class _SimpleCollector(_AnswerCollector):
    def __init__(self, task: QuestionAnsweringTask, shard: Sequences):
        super().__init__(task, shard)
        self._logits_T2 = np.empty((len(shard.input_ids), 2), np.float32)

    def add(self, step: Pass) -> None:
        logits_T2: Any = self._task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)  # pyright: ignore[reportOptionalMemberAccess]
        self._logits_T2[step.tokens] = logits_T2.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        settings = self._task.settings
        start_T, end_T = np.ascontiguousarray(self._logits_T2.T)
        return self._build_columns(
            *simple_candidates(
                start_T,
                end_T,
                self._shard.cu_seqlens,
                self._cls_tokens_S,
                self._allowed_T,
                settings.top_k,
                settings.max_answer_tokens,
            )
        )


class _BeamCollector(_AnswerCollector):
    """Collects the spans of a beam search, and the class token's score, which is that of having no answer.

    As in training, the search includes the class token.
    """

    def __init__(self, task: QuestionAnsweringTask, shard: Sequences):
        super().__init__(task, shard)
        config: Any = task.head.config  # pyright: ignore[reportOptionalMemberAccess]
        num_starts, num_ends = config.start_n_top, config.end_n_top
        num_sequences = len(shard.lengths)
        self._start_log_probs = np.zeros((num_sequences, num_starts), np.float32)
        self._start_index = np.full((num_sequences, num_starts), -1)
        self._end_log_probs = np.zeros((num_sequences, num_ends * num_starts), np.float32)
        self._end_index = np.full((num_sequences, num_ends * num_starts), -1)
        self._no_answer_S = np.zeros(num_sequences)

    def add(self, step: Pass) -> None:
        import torch

        head: Any = self._task.head
        searched_T = self._allowed_T[step.tokens]
        cls_index = (self._cls_tokens_S - self._shard.cu_seqlens[:-1])[step.sequences]
        searched_T[cumulative_lengths(self._shard.lengths[step.sequences])[:-1] + cls_index] = True
        device = step.hidden_TD.device
        beams = head.forward_packed(
            step.hidden_TD,
            step.batch.cu_seqlens,
            allowed_T=torch.from_numpy(searched_T).to(device),
            cls_index=torch.from_numpy(cls_index).to(device),
            max_answer_tokens=self._task.settings.max_answer_tokens,
        )
        sequences = step.sequences
        self._start_log_probs[sequences] = beams.start_top_log_probs.float().cpu().numpy()
        self._start_index[sequences] = beams.start_top_index.cpu().numpy()
        self._end_log_probs[sequences] = beams.end_top_log_probs.float().cpu().numpy()
        self._end_index[sequences] = beams.end_top_index.cpu().numpy()
        self._no_answer_S[sequences] = beams.cls_logits.double().sigmoid().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        settings = self._task.settings
        candidates = beam_candidates(
            self._start_log_probs,
            self._start_index,
            self._end_log_probs,
            self._end_index,
            self._allowed_T,
            self._shard.cu_seqlens,
            settings.top_k,
            settings.max_answer_tokens,
        )
        has_no_token = np.add.reduceat(self._allowed_T, self._shard.cu_seqlens[:-1]) == 0
        return self._build_columns(candidates, np.where(has_no_token, 1.0, self._no_answer_S))
