"""question-answering: the best spans of each row's context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from pipelines.errors import FatalError
from pipelines.rows.text_columns import decode_texts, join_words
from pipelines.tasks.task import Task, check_width, list_of, load_head, required, span_column
from xlm_core import QuestionAnsweringHead, QuestionAnsweringSimpleHead
from xlm_core.decoding import (
    beam_candidates,
    find_class_tokens,
    is_in_text,
    merge_answers,
    no_answer_scores,
    simple_candidates,
)
from xlm_core.model.packing import cumulative_lengths

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.settings import QuestionAnswering
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig
    from xlm_core.decoding import Candidates

_ANSWER = pa.struct(
    [
        required("text", pa.string()),
        required("score", pa.float32()),
        required("start", pa.int32()),
        required("end", pa.int32()),
    ]
)


class Answering(Task):
    """See `QuestionAnswering`; `beam` says which of the two heads the checkpoint has."""

    def __init__(self, spec: QuestionAnswering, config: XLMConfig, head: XLMConfig, context: pa.Field, *, beam: bool):
        check_width(spec, head, config)
        if not beam and head.num_labels != 2:
            raise FatalError(
                f"question-answering: the head has {head.num_labels} outputs, expected 2, for start and end; name a "
                "head that was trained to answer questions"
            )
        self.spec, self.beam, self.context_column = spec, beam, context.name
        self.head: QuestionAnsweringHead | QuestionAnsweringSimpleHead | None = None
        self.cls_token_id = -1  # until it is loaded

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        answers, no_answer = self.spec.columns
        about = {"offsets": f"characters of {self.context_column}, end exclusive"}
        return [required(answers, list_of(_ANSWER), about), required(no_answer, pa.float32())]

    def load(self, model: Model, head: Path) -> None:
        """See `Task`."""
        self.head = load_head(QuestionAnsweringHead if self.beam else QuestionAnsweringSimpleHead, head, model)
        self.cls_token_id = model.tokenizer.cls_token_id

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _BeamCollector(self, shard) if self.beam else _SimpleCollector(self, shard)


class _AnswerCollector:
    """What both heads have in common: only tokens of the context can be answers."""

    def __init__(self, task: Answering, shard: Sequences):
        self.task, self.shard = task, shard
        self.allowed = is_in_text(shard.word_ids, shard.cu_seqlens, "last")
        self.classes = find_class_tokens(shard.ids, shard.cu_seqlens, task.cls_token_id)

    def _columns(self, candidates: Candidates, no_answer_S: NDArray[np.float64]) -> list[pa.Array]:
        shard, rows = self.shard, self.shard.rows
        found = merge_answers(candidates, shard.row_ids, shard.offsets, self.task.spec.top_k)
        contexts = [join_words(text or "") for text in decode_texts(rows.column(self.task.context_column))[0]]
        score = found.score.astype(np.float32)
        answers = span_column(list_of(_ANSWER), contexts, found.row, found.start, found.end, score=score)
        no_answer = no_answer_scores(no_answer_S, shard.row_ids, len(rows))
        return [answers, pa.array(no_answer.astype(np.float32), pa.float32())]


class _SimpleCollector(_AnswerCollector):
    def __init__(self, task: Answering, shard: Sequences):
        super().__init__(task, shard)
        self.logits_T2 = np.empty((len(shard.ids), 2), np.float32)

    def add(self, step: Pass) -> None:
        assert isinstance(self.task.head, QuestionAnsweringSimpleHead)
        logits_T2 = self.task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        self.logits_T2[step.tokens] = logits_T2.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        spec = self.task.spec
        start_T, end_T = np.ascontiguousarray(self.logits_T2.T)
        return self._columns(
            *simple_candidates(
                start_T,
                end_T,
                self.shard.cu_seqlens,
                self.classes,
                self.allowed,
                spec.top_k,
                spec.max_answer_tokens,
            )
        )


class _BeamCollector(_AnswerCollector):
    """The class token takes part in the search, as in training; its logit says how unlikely an answer is at all."""

    def __init__(self, task: Answering, shard: Sequences):
        super().__init__(task, shard)
        assert isinstance(task.head, QuestionAnsweringHead)
        num_starts, num_ends = task.head.config.start_n_top, task.head.config.end_n_top
        size = len(shard.lengths)
        self.start_probs = np.zeros((size, num_starts), np.float32)
        self.start_index = np.full((size, num_starts), -1)
        self.end_probs = np.zeros((size, num_ends * num_starts), np.float32)
        self.end_index = np.full((size, num_ends * num_starts), -1)
        self.no_answer = np.zeros(size)

    def add(self, step: Pass) -> None:
        head = self.task.head
        assert isinstance(head, QuestionAnsweringHead)
        searched = self.allowed[step.tokens]
        cls_index = (self.classes - self.shard.cu_seqlens[:-1])[step.sequences]
        searched[cumulative_lengths(self.shard.lengths[step.sequences])[:-1] + cls_index] = True
        device = step.hidden_TD.device
        beams = head.forward_packed(
            step.hidden_TD,
            step.batch.cu_seqlens,
            allowed_T=torch.from_numpy(searched).to(device),
            cls_index=torch.from_numpy(cls_index).to(device),
            max_answer_tokens=self.task.spec.max_answer_tokens,
        )
        rows = step.sequences
        self.start_probs[rows] = beams.start_top_log_probs.float().cpu().numpy()
        self.start_index[rows] = beams.start_top_index.cpu().numpy()
        self.end_probs[rows] = beams.end_top_log_probs.float().cpu().numpy()
        self.end_index[rows] = beams.end_top_index.cpu().numpy()
        self.no_answer[rows] = beams.cls_logits.double().sigmoid().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        spec = self.task.spec
        candidates = beam_candidates(
            self.start_probs,
            self.start_index,
            self.end_probs,
            self.end_index,
            self.allowed,
            self.shard.cu_seqlens,
            spec.top_k,
            spec.max_answer_tokens,
        )
        empty = np.add.reduceat(self.allowed, self.shard.cu_seqlens[:-1]) == 0  # a context without a token
        return self._columns(candidates, np.where(empty, 1.0, self.no_answer))
