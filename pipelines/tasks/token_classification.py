"""token-classification: a label for each word, or labelled entities of several words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.results import (
    MAX_ITEMS,
    compare_labelled_spans,
    item_labels,
    item_numbers,
    list_of,
    render_items,
    render_scalar,
    render_text,
    required,
    span_column,
    verify_spans,
)
from pipelines.rows import decode_texts, is_words, join_words
from pipelines.tasks.task import HeadTaskSettings, Task, label_metadata, trained_langs_notes
from xlm_core.decoding import SchemeName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, ResultFindings, Statistic
    from pipelines.rows import WordList
    from pipelines.storage import StoreSettings
    from xlm_core import TokenClassificationHead, XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, LabelledSpans, Model


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

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`."""
        (name,) = self.columns
        yield item_labels(f"{name}.label", rows[name].chunk(0), "label")
        yield item_numbers(f"{name}.score", rows[name].chunk(0), "score")


def _render_entity(span: dict[str, Any]) -> str:
    return f"{render_text(span['text'])} ({render_text(span['label'])} {span['score']:.2f})"


class TokenClassificationTask(Task["LabelledSpans"]):
    """The task of `TokenClassification`.

    If the text column contains lists of words, the result has an item for each word, in order. The label is null for
    words without tokens and for words that were cut off.
    """

    def __init__(self, settings: TokenClassification, head: XLMConfig, text: pa.Field):
        from xlm_core.inference import read_label_scheme

        self.settings, self.text_column = settings, text.name
        self.metadata = label_metadata(head, offsets=f"characters of {text.name}, end exclusive")
        self.notes = trained_langs_notes(settings.kind, head)
        self.scheme = read_label_scheme(head, settings.scheme)
        if settings.aggregate == "entity":
            read_as = f"{settings.kind}: labels read as {self.scheme.describe()}"
            self.notes += (read_as,)
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
        return [required(self.settings.columns[0], list_of(span_type), self.metadata)]

    def load(self, model: Model, head_folder: Path) -> None:
        """See `Task`."""
        from xlm_core import TokenClassificationHead
        from xlm_core.inference import load_head

        self.head = load_head(TokenClassificationHead, head_folder, model)

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[LabelledSpans]:
        """See `Task`."""
        from xlm_core.inference import TaggingCollector

        assert self.head is not None
        return TaggingCollector(
            sequences,
            self.head,
            self._texts(rows),
            pieces=self.settings.pieces,
            scheme=self.scheme if self.settings.aggregate == "entity" else None,
            keep_given_words=self.labels_given_words,
        )

    def columns(self, result: LabelledSpans, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        row, start, end, label, score = result
        texts = [join_words(text) for text in self._texts(rows)]
        scores = score.astype(object)
        scores[[name is None for name in label]] = None
        return [span_column(self.fields[0].type, texts, row, start, end, label=label, score=scores)]

    def _texts(self, rows: pa.RecordBatch) -> list[str | WordList]:
        return [text or "" for text in decode_texts(rows.column(self.text_column))[0]]
