"""token-classification: a label for each word, or labelled entities of several words.

Shapes: T tokens of a shard, W words, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.errors import FatalError
from pipelines.results import (
    MAX_ITEMS,
    compare_labelled_spans,
    list_of,
    render_items,
    render_scalar,
    render_text,
    required,
    span_column,
    verify_spans,
)
from pipelines.rows import decode_texts, is_words, join_words
from pipelines.tasks.task import HeadTaskSettings, Task, head_labels, label_metadata
from xlm_core.decoding import (
    SchemeName,
    aggregate_scores,
    attach_marks,
    drop_blank_words,
    find_entities,
    join_subwords,
    parse_label_scheme,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.results import CompareFields, ResultFindings
    from pipelines.rows import Sequences
    from pipelines.storage import StoreSettings
    from pipelines.tasks.model import Model, Pass
    from pipelines.tasks.task import Collector
    from xlm_core import TokenClassificationHead, XLMConfig
    from xlm_core.decoding import WordSpans


class TokenClassification(HeadTaskSettings):
    """Label the words of each row; of a pair, those of the first text. Writes a column `words` or `entities`."""

    kind: ClassVar[str] = "token-classification"
    needs_offsets: ClassVar[bool] = True
    quoted_text: ClassVar[int | None] = 0

    aggregate: Literal["word", "entity"] = Field(
        default="word",
        description="What is labelled: each word (column words), or entities of one or more words (column entities).",
    )
    pieces: Literal["first", "last", "max", "mean"] = Field(
        default="first",
        description="How a word of several subwords gets its label: from its first or last subword, from the subword "
        "with the highest score (max), or from the mean of their scores.",
    )
    scheme: SchemeName = Field(
        default="auto",
        description="With aggregate: entity, how labels mark entities: bio (B- begins one, I- continues it), bioes, "
        "bilou, bmes, bmewo, or plain (each label is a type). auto recognizes it by the labels; xlm check prints it.",
    )

    @model_validator(mode="after")
    def _check_scheme(self) -> Self:
        if self.aggregate != "entity" and self.scheme != "auto":
            raise ValueError("scheme concerns entities; set aggregate to entity")
        return self

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {"words" if self.aggregate == "word" else "entities": compare_labelled_spans()}

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> TokenClassificationTask:
        """See `TaskSettings`."""
        head = self.read_head_config("token-classification", head_folder, trunk)
        return TokenClassificationTask(self, head, text_fields[0])

    def verify(self, rows: pa.Table, texts: Sequence[str] | None, findings: ResultFindings) -> None:
        """See `TaskSettings`. Each span must have the text between its offsets."""
        super().verify(rows, texts, findings)
        (name,) = self.columns
        verify_spans(findings, name, rows[name].combine_chunks(), texts)

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`. Writes words as `Hund/NOUN`, and entities as `Berlin (LOC 0.98)`."""
        (name,) = self.columns
        spans = row[name][:MAX_ITEMS]
        if self.aggregate == "word":
            yield name, render_items((f"{render_text(s['text'])}/{render_scalar(s['label'])}" for s in spans), " ")
        else:
            yield name, render_items(_render_entity(span) for span in spans)


def _render_entity(span: dict[str, Any]) -> str:
    return f"{render_text(span['text'])} ({render_text(span['label'])} {span['score']:.2f})"


class TokenClassificationTask(Task):
    """The task of `TokenClassification`.

    If the text column contains lists of words, the result has an item for each word, in order. The label is null for
    words without tokens and for words that were cut off.
    """

    def __init__(self, settings: TokenClassification, head: XLMConfig, text: pa.Field):
        self.settings, self.labels, self.text_column = settings, head_labels(head), text.name
        try:
            self.scheme = parse_label_scheme(self.labels, settings.scheme)
        except FatalError as error:
            raise FatalError(f"{settings.kind}: {error}") from None
        if settings.aggregate == "entity":
            read_as = f"{settings.kind}: labels read as {self.scheme.describe()}"
            self.notes = (read_as,)
            self.warnings = tuple(
                f"{read_as}, but {doubt}; set scheme, or rename labels in the head's config.json"
                for doubt in self.scheme.doubts
            )
        self.labels_given_words = is_words(text.type) and settings.aggregate == "word"
        self.head: TokenClassificationHead | None = None

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        nullable = self.labels_given_words
        span_type = pa.struct(
            [
                pa.field("label", pa.string(), nullable=nullable),
                pa.field("score", pa.float32(), nullable=nullable),
                required("start", pa.int32()),
                required("end", pa.int32()),
                required("text", pa.string()),
            ]
        )
        metadata = label_metadata(self.labels, offsets=f"characters of {self.text_column}, end exclusive")
        return [required(self.settings.columns[0], list_of(span_type), metadata)]

    def load(self, model: Model, head_folder: Path) -> None:
        """See `Task`."""
        from pipelines.tasks.model import load_head
        from xlm_core import TokenClassificationHead

        self.head = load_head(TokenClassificationHead, head_folder, model)

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _TokenClassificationCollector(self, shard)


class _TokenClassificationCollector:
    def __init__(self, task: TokenClassificationTask, shard: Sequences):
        self._task, self._shard = task, shard
        self._scores_TC = np.empty((len(shard.input_ids), len(task.labels)), np.float32)

    def add(self, step: Pass) -> None:
        assert self._task.head is not None
        logits_TC = self._task.head.forward_packed(step.hidden_TD, step.batch.cu_seqlens)
        self._scores_TC[step.tokens] = logits_TC.float().softmax(-1).cpu().numpy()

    def columns(self) -> list[pa.Array]:
        task, shard = self._task, self._shard
        given = decode_texts(shard.rows.column(task.text_column))[0]
        texts = [join_words(text or "") for text in given]
        tokens = shard.select_tokens("first")
        offsets = attach_marks(shard.offsets, tokens, shard.row_of_token[tokens], texts)
        words = join_subwords(tokens, shard.word_ids, offsets, shard.cu_seqlens, shard.row_ids)
        if not task.labels_given_words:
            words = drop_blank_words(words, texts)
        scores_WC = aggregate_scores(self._scores_TC, tokens, words, task.settings.pieces)
        best = scores_WC.argmax(1)
        score = scores_WC[np.arange(len(best)), best]
        if task.labels_given_words:
            return [_label_given_words(task, given, words, best, score)]
        label = np.array(task.labels, object)[best]
        row, start, end = words.row, words.start, words.end
        if task.settings.aggregate == "entity":
            entities = find_entities(best, score, words.row, task.scheme)
            label, score = np.array(task.scheme.types, object)[entities.type], entities.score
            row, start, end = row[entities.first], start[entities.first], end[entities.last]
        return [span_column(task.fields[0].type, texts, row, start, end, label=label, score=score)]


def _label_given_words(
    task: TokenClassificationTask,
    given: Sequence[object],
    words: WordSpans,
    best: NDArray[np.int64],
    score: NDArray[np.float32],
) -> pa.Array:
    """Build a column with an item for each word of the input, including words without a label."""
    rows: list[list[dict[str, object]]] = []
    for text in given:
        start, row = 0, list[dict[str, object]]()
        for word in text if isinstance(text, list) else ():
            row.append({"label": None, "score": None, "start": start, "end": start + len(word), "text": word})
            start += len(word) + 1
        rows.append(row)
    labelled = zip(words.row.tolist(), words.number.tolist(), best.tolist(), score.tolist(), strict=True)
    for row, number, label, word_score in labelled:
        rows[row][number] |= {"label": task.labels[label], "score": word_score}
    return pa.array(rows, task.fields[0].type)
