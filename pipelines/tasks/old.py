"""The tasks of a job: what each takes from the trunk's hidden states, and the columns it writes.

A task is loaded once in each model process. For a shard it is given a collector, which takes the results of one
forward pass after the other and at the end gives the columns, rows in input order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from torch.nn import functional as F

from pipelines.columns import OFFSETS, WORD_IDS, decode_text, ragged
from pipelines.errors import FatalError
from pipelines.job import FeatureExtraction, TextClassification, TokenClassification
from xlm_core import POOLINGS, SequenceClassificationHead, TokenClassificationHead
from xlm_core.decoding import find_words, group_entities

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from pipelines.job import TaskSpec
    from xlm_core import XLMConfig

H = TypeVar("H", SequenceClassificationHead, TokenClassificationHead)

# Shapes: B sequences of one forward pass, T its tokens, D model width, C labels, N rows of the shard.


class Collector(Protocol):
    """Gathers one task's results for one shard."""

    def add(self, rows: NDArray[np.int64], tokens: NDArray[np.int64], hidden_TD: Tensor, cu_seqlens: Tensor) -> None:
        """Take the results of one forward pass.

        Args:
            rows: [B], which rows of the shard its sequences are.
            tokens: [T], which of the shard's tokens its tokens are.
            hidden_TD: the trunk's output.
            cu_seqlens: [B + 1].
        """
        ...

    def columns(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """Give the task's columns for the shard's rows."""
        ...


class Task(Protocol):
    """One task with its head, if it has one."""

    @property
    def fields(self) -> list[pa.Field]:
        """The columns it adds, as declared before any data is read."""
        ...

    def to(self, device: torch.device) -> None:
        """Move its head to a device."""
        ...

    def collect(self, num_rows: int, num_tokens: int) -> Collector:
        """Begin a shard."""
        ...


def load_task(spec: TaskSpec, config: XLMConfig, text_column: str, head_path: str) -> Task:
    """Load one task of the job.

    Args:
        spec: the task as the job has it.
        config: the trunk's.
        text_column: the column that spans are quoted from.
        head_path: directory with the task's head, if it needs one.

    Raises:
        FatalError: the head does not fit the trunk, or is of a kind this task cannot use.
    """
    match spec:
        case FeatureExtraction():
            return _Embedding(spec, config)
        case TextClassification():
            return _Classification(
                spec, _fitting(SequenceClassificationHead.from_pretrained(head_path), config, head_path)
            )
        case TokenClassification():
            head = _fitting(TokenClassificationHead.from_pretrained(head_path), config, head_path)
            return _Tagging(spec, head, text_column)
        case _:
            raise AssertionError(f"no task {spec.kind}")


class _Embedding:
    def __init__(self, spec: FeatureExtraction, config: XLMConfig):
        self.spec, self.dim = spec, config.emb_dim
        self.pool = POOLINGS[spec.pooling]

    @property
    def fields(self) -> list[pa.Field]:
        number = pa.float32() if self.spec.dtype == "float32" else pa.float16()
        kind = pa.list_(pa.field("item", number, nullable=False), self.dim)
        settings = {"pooling": self.spec.pooling, "normalized": str(self.spec.normalize).lower()}
        return [pa.field(self.spec.columns[0], kind, nullable=False, metadata=settings)]

    def to(self, device: torch.device) -> None:
        pass

    def collect(self, num_rows: int, num_tokens: int) -> Collector:
        return _EmbeddingCollector(self, num_rows)


class _EmbeddingCollector:
    def __init__(self, task: _Embedding, num_rows: int):
        self.task = task
        self.vectors_ND = np.empty((num_rows, task.dim), np.float32 if task.spec.dtype == "float32" else np.float16)

    def add(self, rows: NDArray[np.int64], tokens: NDArray[np.int64], hidden_TD: Tensor, cu_seqlens: Tensor) -> None:
        vectors_BD = self.task.pool(hidden_TD, cu_seqlens)
        if self.task.spec.normalize:
            vectors_BD = F.normalize(vectors_BD, dim=1)
        self.vectors_ND[rows] = vectors_BD.cpu().numpy()

    def columns(self, rows: pa.RecordBatch) -> list[pa.Array]:
        flat = pa.array(self.vectors_ND.reshape(-1))
        return [pa.FixedSizeListArray.from_arrays(flat, type=self.task.fields[0].type)]


class _Classification:
    def __init__(self, spec: TextClassification, head: SequenceClassificationHead):
        self.spec, self.head = spec, head
        self.labels = _labels(head.config)
        made_for = head.config.problem_type or (
            "regression" if len(self.labels) == 1 else "single_label_classification"
        )
        if made_for != "single_label_classification":
            raise FatalError(
                f"text-classification: the head is made for {made_for}; only single labels are supported yet"
            )
        if head.sequence_summary.width != len(self.labels):
            raise FatalError(
                f"text-classification: the head gives vectors of width {head.sequence_summary.width}, not scores of "
                f"its {len(self.labels)} labels; its config.json says so by summary_use_proj or summary_proj_to_labels"
            )

    @property
    def fields(self) -> list[pa.Field]:
        names = {"labels": json.dumps(self.labels, ensure_ascii=False)}
        score = pa.field("score", pa.float32(), nullable=False)
        pair = pa.struct([pa.field("label", pa.string(), nullable=False), score])
        kinds = [
            ("label", pa.string()),
            ("score", pa.float32()),
            ("top", pa.list_(pa.field("item", pair, nullable=False))),
            ("scores", pa.list_(pa.field("item", pa.float32(), nullable=False))),
        ]
        wanted = (
            {"label", "score"} | ({"top"} if self.spec.top_k else set()) | ({"scores"} if self.spec.scores else set())
        )
        chosen = [kind for name, kind in kinds if name in wanted]
        return [pa.field(n, k, nullable=False, metadata=names) for n, k in zip(self.spec.columns, chosen, strict=True)]

    def to(self, device: torch.device) -> None:
        self.head.to(device)

    def collect(self, num_rows: int, num_tokens: int) -> Collector:
        return _ClassificationCollector(self, num_rows)


class _ClassificationCollector:
    def __init__(self, task: _Classification, num_rows: int):
        self.task = task
        self.scores_NC = np.empty((num_rows, len(task.labels)), np.float32)

    def add(self, rows: NDArray[np.int64], tokens: NDArray[np.int64], hidden_TD: Tensor, cu_seqlens: Tensor) -> None:
        logits_BC = self.task.head.forward_packed(hidden_TD, cu_seqlens)
        self.scores_NC[rows] = logits_BC.float().softmax(-1).cpu().numpy()

    def columns(self, rows: pa.RecordBatch) -> list[pa.Array]:
        labels = np.array(self.task.labels, object)
        best = self.scores_NC.argmax(1) if len(self.scores_NC) else np.empty(0, np.int64)
        found: list[pa.Array] = [
            pa.array(labels[best], pa.string()),
            pa.array(self.scores_NC[np.arange(len(best)), best], pa.float32()),
        ]
        fields = self.task.fields
        if self.task.spec.top_k:
            k = min(self.task.spec.top_k, len(labels))
            order = np.argsort(-self.scores_NC, axis=1, kind="stable")[:, :k]
            scores = np.take_along_axis(self.scores_NC, order, 1)
            flat = [pa.array(labels[order.reshape(-1)], pa.string()), pa.array(scores.reshape(-1), pa.float32())]
            items = pa.StructArray.from_arrays(flat, fields=list(fields[2].type.value_type))
            found.append(_even_lists(items, len(best), k, fields[2].type))
        if self.task.spec.scores:
            flat_scores = pa.array(self.scores_NC.reshape(-1), pa.float32())
            found.append(_even_lists(flat_scores, len(best), len(labels), fields[-1].type))
        return found


class _Tagging:
    def __init__(self, spec: TokenClassification, head: TokenClassificationHead, text_column: str):
        self.spec, self.head, self.text_column = spec, head, text_column
        self.labels = _labels(head.config)

    @property
    def fields(self) -> list[pa.Field]:
        span = pa.struct(
            [
                pa.field("label", pa.string(), nullable=False),
                pa.field("score", pa.float32(), nullable=False),
                pa.field("start", pa.int32(), nullable=False),
                pa.field("end", pa.int32(), nullable=False),
                pa.field("text", pa.string(), nullable=False),
            ]
        )
        kind = pa.list_(pa.field("item", span, nullable=False))
        names = {"labels": json.dumps(self.labels, ensure_ascii=False), "offsets": "characters, end exclusive"}
        return [pa.field(self.spec.columns[0], kind, nullable=False, metadata=names)]

    def to(self, device: torch.device) -> None:
        self.head.to(device)

    def collect(self, num_rows: int, num_tokens: int) -> Collector:
        return _TaggingCollector(self, num_tokens)


class _TaggingCollector:
    """A word's label and score are those of its first piece, as such heads are trained."""

    def __init__(self, task: _Tagging, num_tokens: int):
        self.task = task
        self.best = np.empty(num_tokens, np.int64)
        self.score = np.empty(num_tokens, np.float32)

    def add(self, rows: NDArray[np.int64], tokens: NDArray[np.int64], hidden_TD: Tensor, cu_seqlens: Tensor) -> None:
        logits_TC = self.task.head.forward_packed(hidden_TD, cu_seqlens)
        score, best = logits_TC.float().softmax(-1).max(-1)
        self.best[tokens] = best.cpu().numpy()
        self.score[tokens] = score.cpu().numpy()

    def columns(self, rows: pa.RecordBatch) -> list[pa.Array]:
        texts = [str(text) for text in decode_text(rows.column(self.task.text_column))[0]]
        word_ids, cu_seqlens = ragged(rows.column(WORD_IDS))
        words = find_words(word_ids, ragged(rows.column(OFFSETS))[0].reshape(-1, 2), cu_seqlens)
        spans: list[list[dict[str, Any]]] = [[] for _ in texts]
        columns = (words.row, words.start, words.end, self.best[words.token], self.score[words.token])
        for row, start, end, best, score in zip(*(column.tolist() for column in columns), strict=True):
            text = texts[row][start:end]
            if text.strip():  # the Thai and Japanese segmenters call a space a word; it has no part of speech
                label = self.task.labels[best]
                spans[row].append({"label": label, "score": score, "start": start, "end": end, "text": text})
        if self.task.spec.aggregate == "entity":
            spans = [_entities(text, words) for text, words in zip(texts, spans, strict=True)]
        return [pa.array(spans, self.task.fields[0].type)]


def _entities(text: str, words: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    for label, first, last in group_entities([word["label"] for word in words]):
        start, end = words[first]["start"], words[last - 1]["end"]
        score = float(np.mean([word["score"] for word in words[first:last]]))
        entities.append({"label": label, "score": score, "start": start, "end": end, "text": text[start:end]})
    return entities


def _labels(config: XLMConfig) -> list[str]:
    return [config.id2label[i] for i in range(config.num_labels)]


def _fitting(head: H, trunk: XLMConfig, path: str) -> H:
    if head.config.emb_dim != trunk.emb_dim:
        raise FatalError(
            f"{path}: this head is made for a model of width {head.config.emb_dim}, but the checkpoint's is "
            f"{trunk.emb_dim}; name a head that was trained on this checkpoint"
        )
    return head


def _even_lists(items: pa.Array, num_rows: int, size: int, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(num_rows + 1) * size, pa.int32()), items, type=kind)
