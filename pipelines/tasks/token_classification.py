"""token-classification: a label for each word, or entities of several words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.rows.text_columns import decode_texts, is_words, join_words
from pipelines.tasks.task import Task, check_width, label_metadata, labels_of, list_of, load_head, required, span_column
from xlm_core import TokenClassificationHead
from xlm_core.decoding import aggregate_scores, drop_blank_words, find_entities, join_subwords, parse_label_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.settings import TokenClassification
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig
    from xlm_core.decoding import WordSpans


def _span_type(nullable: bool) -> pa.DataType:
    """Declare a labelled span of a text: characters, end exclusive, and the surface between them."""
    return pa.struct(
        [
            pa.field("label", pa.string(), nullable=nullable),
            pa.field("score", pa.float32(), nullable=nullable),
            required("start", pa.int32()),
            required("end", pa.int32()),
            required("text", pa.string()),
        ]
    )


class Tagging(Task):
    """See `TokenClassification`.

    Where the text is given as words, each of them has its entry, in order; a word that no token is left of, or that was
    cut off, has a null label.
    """

    def __init__(self, spec: TokenClassification, config: XLMConfig, head: XLMConfig, text: pa.Field):
        check_width(spec, head, config)
        self.spec, self.labels, self.text_column = spec, labels_of(head), text.name
        self.scheme = parse_label_scheme(self.labels)
        self.given_words = is_words(text.type) and spec.aggregate == "word"
        self.head: TokenClassificationHead | None = None

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        about = label_metadata(self.labels, offsets=f"characters of {self.text_column}, end exclusive")
        return [required(self.spec.columns[0], list_of(_span_type(self.given_words)), about)]

    def load(self, model: Model, head: Path) -> None:
        """See `Task`."""
        self.head = load_head(TokenClassificationHead, head, model)

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _TaggingCollector(self, shard)


class _TaggingCollector:
    def __init__(self, task: Tagging, shard: Sequences):
        self.task, self.shard = task, shard
        self.scores_TC = np.empty((len(shard.ids), len(task.labels)), np.float32)

    def add(self, step: Pass) -> None:
        assert self.task.head is not None
        logits_TC = self.task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        self.scores_TC[step.tokens] = logits_TC.float().softmax(-1).cpu().numpy()

    def columns(self) -> list[pa.Array]:
        task, shard = self.task, self.shard
        given = decode_texts(shard.rows.column(task.text_column))[0]
        texts = [join_words(text or "") for text in given]
        tokens = shard.once("first")
        words = join_subwords(tokens, shard.word_ids, shard.offsets, shard.cu_seqlens, shard.row_ids)
        if not task.given_words:
            words = drop_blank_words(words, texts)
        scores_WC = aggregate_scores(self.scores_TC, tokens, words, task.spec.pieces)
        best = scores_WC.argmax(1)
        score = scores_WC[np.arange(len(best)), best]
        if task.given_words:
            return [_per_given_word(task, given, words, best, score)]
        labels = np.array(task.labels, object)[best]
        row, start, end = words.row, words.start, words.end
        if task.spec.aggregate == "entity":
            found = find_entities(best, score, words.row, task.scheme)
            labels, score = np.array(task.scheme.types, object)[found.type], found.score
            row, start, end = row[found.first], start[found.first], end[found.last]
        return [span_column(task.fields[0].type, texts, row, start, end, label=labels, score=score)]


def _per_given_word(
    task: Tagging, given: Sequence[object], words: WordSpans, best: NDArray[np.int64], score: NDArray[np.float32]
) -> pa.Array:
    """Lay the labels out over the words as they were given, those without a label included."""
    rows: list[list[dict[str, object]]] = []
    for text in given:
        place, row = 0, list[dict[str, object]]()
        for word in text if isinstance(text, list) else ():
            row.append({"label": None, "score": None, "start": place, "end": place + len(word), "text": word})
            place += len(word) + 1
        rows.append(row)
    labelled = zip(words.row.tolist(), words.number.tolist(), best.tolist(), score.tolist(), strict=True)
    for row, number, label, certainty in labelled:
        rows[row][number] |= {"label": task.labels[label], "score": certainty}
    return pa.array(rows, task.fields[0].type)
