"""Checks of a row before it is tokenized: its id, its language and its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError
from pipelines.job import DetectedLang, FixedLang
from pipelines.rows import (
    DETECTED_COLUMNS,
    DETECTED_LANG,
    RENAMED,
    ROW,
    RejectedRow,
    Rejection,
    RejectionReason,
    decode_ids,
    decode_text,
    decode_texts,
    join_words,
)
from pipelines.stages.checks.lang_checks import as_lang_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipelines.job import InputSettings
    from pipelines.rows import Shard, WordList
    from pipelines.stages.checks.lang_checks import LangChecks


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row as Python values.

    Attributes:
        position: its position in the shard.
        id: its id as text; None if it has none.
        lang: the language code as in the data; None if it is null.
        checkpoint_lang: the checkpoint's own code for it; None if the language is not in lang2id.
        texts: the texts of each of its sequences before windowing: one text, or a pair.
        rejection: why it is rejected; None if it is not.
    """

    position: int
    id: str | None
    lang: str | None
    checkpoint_lang: str | None
    texts: list[tuple[str | WordList, ...]]
    rejection: Rejection | None

    @property
    def rejected_row(self) -> RejectedRow | None:
        """The record of its rejection."""
        return None if self.rejection is None else self.rejected_for(self.rejection)

    def rejected_for(self, rejection: Rejection) -> RejectedRow:
        """Return the record of its rejection for a reason."""
        return RejectedRow(self.position, self.id, *rejection, as_lang_code(self.lang))


@dataclass(frozen=True)
class RowChecks:
    """What is required of a row.

    Attributes:
        input: the columns and their roles.
        langs: what is required of its language.
        has_choices: whether the texts of a row are a premise and choices.
        max_chars: maximum length of a text.
    """

    input: InputSettings
    langs: LangChecks
    has_choices: bool
    max_chars: int

    def check(self, rows: pa.RecordBatch) -> Iterator[InputRow]:
        """Yield each row with the first reason for its rejection, if there is one."""
        spec = self.input
        columns = [decode_texts(rows.column(name)) for name in spec.text_columns]
        ids, invalid_ids = _decode_ids(rows, spec.id)
        positions: list[int] = rows.column(ROW).to_pylist()
        for i, (lang, checkpoint_lang, rejection) in enumerate(self._check_langs(rows)):
            if i in invalid_ids:
                detail = f"column {spec.id}: byte {invalid_ids[i]} of the id is not UTF-8"
                rejection = Rejection(RejectionReason.INVALID_UTF8, detail)
            elif spec.id is not None and ids[i] is None:
                rejection = Rejection(RejectionReason.NULL_ID, f"column {spec.id} is null")
            texts = [
                _Text(name, found[i], invalid.get(i))
                for name, (found, invalid) in zip(spec.text_columns, columns, strict=True)
            ]
            if self.has_choices:
                texts = list(_split_choices(texts))
                if rejection is None and len(texts) < 2:
                    detail = f"column {spec.text_columns[1]} contains no choice"
                    rejection = Rejection(RejectionReason.NO_CHOICES, detail)
            for text in texts:
                rejection = rejection or text.check(self.max_chars)
            values = [text.value if text.value is not None else "" for text in texts]
            sequences = [(values[0], choice) for choice in values[1:]] if self.has_choices else [tuple(values)]
            yield InputRow(positions[i], ids[i], lang, checkpoint_lang, sequences, rejection)

    def _check_langs(self, rows: pa.RecordBatch) -> Iterator[tuple[str | None, str | None, Rejection | None]]:
        """Yield the language of each row, the checkpoint's code for it, and why it is rejected for it, if it is."""
        match self.input.lang:
            case str(column):
                langs, invalid = decode_text(rows.column(column))
                for i, lang in enumerate(langs):
                    yield lang, *self.langs.check(lang, invalid.get(i))
            case FixedLang(fixed=lang):
                for _ in range(len(rows)):
                    yield lang, *self.langs.check(lang)
            case DetectedLang():
                if RENAMED + DETECTED_LANG not in rows.schema.names:
                    raise FatalError("input.lang: languages are only detected by xlm run; name a column, or set fixed")
                found: Iterator[list[Any]] = (rows.column(RENAMED + name).to_pylist() for name in DETECTED_COLUMNS)
                for lang, score in zip(*found, strict=True):
                    yield lang, *self.langs.check_detected(lang, score)


def pre_reject(shard: Shard, rejections: dict[int, Rejection], id_column: str | None) -> Shard:
    """Remove rows that the driver already rejected, before anything else is done with them.

    Args:
        shard: rows as read.
        rejections: by position in the shard.
        id_column: the column that identifies a row.
    """
    if not rejections:
        return shard
    positions: list[int] = shard.rows.column(ROW).to_pylist()
    ids, _ = _decode_ids(shard.rows, id_column)
    rejected = [
        RejectedRow(position, row_id, *rejections[position])
        for position, row_id in zip(positions, ids, strict=True)
        if position in rejections
    ]
    return shard.reject([position not in rejections for position in positions], rejected)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a row, and the position of its first byte that is not UTF-8, if any."""

    column: str
    value: str | WordList | None
    invalid_byte: int | None

    def check(self, max_chars: int) -> Rejection | None:
        if self.value is None:
            return Rejection(RejectionReason.NULL_TEXT, f"column {self.column} is null")
        if self.invalid_byte is not None:
            detail = f"column {self.column}: byte {self.invalid_byte} is not UTF-8"
            return Rejection(RejectionReason.INVALID_UTF8, detail)
        text = join_words(self.value)
        if not text.strip():
            return Rejection(RejectionReason.EMPTY_TEXT, f"column {self.column} is empty")
        if len(text) > max_chars:
            detail = f"column {self.column} has {len(text):,} characters; tokenizer.max_chars is {max_chars:,}"
            return Rejection(RejectionReason.TOO_MANY_CHARS, detail)
        return None


def _split_choices(texts: list[_Text]) -> Iterator[_Text]:
    """Yield a row's premise and choices: the items of one list column, or columns up to the last that is not null."""
    premise, *choices = texts
    yield premise
    if len(choices) == 1 and isinstance(items := choices[0].value, list):
        yield from (_Text(choices[0].column, item, choices[0].invalid_byte) for item in items)
        return
    while choices and choices[-1].value is None:
        choices.pop()
    yield from choices


def _decode_ids(rows: pa.RecordBatch, name: str | None) -> tuple[list[str | None], dict[int, int]]:
    return ([None] * len(rows), {}) if name is None else decode_ids(rows.column(name))
