"""Tokenize: from texts to token ids, each row by the rules of its own language; rows nothing can mend are rejected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.columns import INPUT_IDS, LANG, OFFSETS, ROW, WORD_IDS, decode_text
from pipelines.shard import Reject, Shard, run_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.job import InputSpec, PolicySpec, TokenizerSpec
    from xlm_core import Encoding, XLMTokenizer


@dataclass(frozen=True)
class TokenizeSettings:
    """What a tokenizer process needs.

    Attributes:
        load: builds the tokenizer, once in each process.
        input: which columns are what.
        tokenizer: lengths and what to do with longer rows; `max_length` is within the model's positions.
        policy: what to do with rows of an unknown language.
        duplicates: for a shard's id, the numbers (in the file) of its rows whose id an earlier row has.
        schema: of the rows handed on.
    """

    load: Callable[[], XLMTokenizer]
    input: InputSpec
    tokenizer: TokenizerSpec
    policy: PolicySpec
    duplicates: dict[str, list[int]]
    schema: pa.Schema


class Tokenize:
    """A tokenizer process of the pool; its vocabulary and segmenters stay loaded from shard to shard."""

    def __init__(self, settings: TokenizeSettings):
        self._settings = settings
        self._tokenizer: XLMTokenizer | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tokenize one shard, as Ray hands it over."""
        return run_stage("tokenize", table, self.step, self._settings.schema)

    def step(self, shard: Shard) -> Shard:
        """Tokenize the rows of a shard; the shard's stats tell what went in and what was cut off."""
        self._tokenizer = tokenizer = self._tokenizer or self._settings.load()
        texts = self._sift(shard, tokenizer)
        shard = shard.reject([reject is None for reject in texts.rejects], [r for r in texts.rejects if r is not None])
        columns, langs, codes = texts.kept()
        encoding = tokenizer.encode_batch(
            columns[0],
            langs,
            pairs=columns[1] if len(columns) > 1 else None,
            max_length=self._settings.tokenizer.max_length,
        )
        return self._fit(self._with_tokens(shard, encoding, langs, tokenizer), encoding, codes, texts.kept_ids())

    def _sift(self, shard: Shard, tokenizer: XLMTokenizer) -> _Texts:
        """Look at every row before it is tokenized; a row has one reason to go, the first that is found."""
        spec, rows = self._settings.input, shard.rows
        decoded = [decode_text(rows.column(name)) for name in spec.text_columns]
        if spec.lang_column is not None:
            codes, bad_codes = decode_text(rows.column(spec.lang_column))
        else:
            codes, bad_codes = [spec.lang.fixed] * len(rows), {}  # pyright: ignore[reportAttributeAccessIssue]
        ids, bad_ids = _ids(rows, spec.id)
        numbers: list[int] = rows.column(ROW).to_pylist()
        repeated = set(self._settings.duplicates.get(shard.id, ()))
        texts = _Texts([column for column, _ in decoded], codes, [], ids, [])
        for i, code in enumerate(codes):
            lang = tokenizer.resolve_lang(code) if code is not None else None
            texts.langs.append(lang)
            reason: tuple[str, str] | None = None
            if i in bad_ids:
                reason = "invalid_utf8", f"column {spec.id}: byte {bad_ids[i]} of the id is not UTF-8"
            elif spec.id is not None and ids[i] is None:
                reason = "null_id", f"column {spec.id} is null"
            elif numbers[i] in repeated:
                reason = "duplicate_id", "an earlier row has this id"
            elif code is None or i in bad_codes:
                reason = "null_lang", f"column {spec.lang_column} is {'null' if code is None else 'not UTF-8'}"
            elif lang is None and self._settings.policy.unknown_lang == "reject":
                reason = "unknown_lang", f"the checkpoint knows no language {code[:32]!r}"
            for name, (column, bad) in zip(spec.text_columns, decoded, strict=True):
                reason = reason or _text_problem(name, column[i], bad.get(i), self._settings.tokenizer.max_chars)
            texts.rejects.append(None if reason is None else Reject(numbers[i], ids[i], *reason))
        return texts

    def _with_tokens(self, shard: Shard, encoding: Encoding, langs: list[str | None], tokenizer: XLMTokenizer) -> Shard:
        lang_ids = [tokenizer.lang2id.get(lang, -1) if lang is not None else -1 for lang in langs]
        offset_borders = encoding.cu_seqlens * 2
        arrays: dict[str, pa.Array] = {
            LANG: pa.array(lang_ids, pa.int32()),
            INPUT_IDS: _lists(encoding.cu_seqlens, encoding.input_ids),
            OFFSETS: _lists(offset_borders, encoding.offsets.reshape(-1)),
            WORD_IDS: _lists(encoding.cu_seqlens, encoding.word_ids),
        }
        schema = self._settings.schema
        columns = [arrays[name] if name in arrays else shard.rows.column(name) for name in schema.names]
        return replace(shard, rows=pa.RecordBatch.from_arrays(columns, schema=schema))

    def _fit(self, shard: Shard, encoding: Encoding, codes: list[str], ids: list[str | None]) -> Shard:
        """Reject rows that turned out to hold no token, or more than the job lets be cut off; count the others."""
        num_special = 3 if len(self._settings.input.text_columns) > 1 else 2
        lengths = np.diff(encoding.cu_seqlens)
        numbers: list[int] = shard.rows.column(ROW).to_pylist()
        rejects: list[Reject] = []
        keep: list[bool] = []
        langs: dict[str, list[int]] = {}
        truncated = 0
        for i, (length, cut) in enumerate(zip(lengths.tolist(), encoding.num_truncated.tolist(), strict=True)):
            reason: tuple[str, str] | None = None
            if length + cut <= num_special:
                reason = "empty_text", "no token is left of the text"
            elif cut and self._settings.tokenizer.on_overflow == "reject":
                reason = "too_many_tokens", f"{length + cut} tokens; tokenizer.max_length is {length}"
            keep.append(reason is None)
            if reason is not None:
                rejects.append(Reject(numbers[i], ids[i], *reason))
                continue
            truncated += cut > 0
            count = langs.setdefault(codes[i], [0, 0])
            count[0] += 1
            count[1] += length
        tokens = sum(count[1] for count in langs.values())
        stats: dict[str, Any] = {"tokens": tokens, "rows_truncated": truncated, "langs": langs}
        return replace(shard, stats=shard.stats | stats).reject(keep, rejects)


@dataclass(frozen=True)
class _Texts:
    """The rows of a shard as Python values, and why some of them go."""

    columns: list[list[str | None]]
    codes: list[str | None]
    langs: list[str | None]
    ids: list[str | None]
    rejects: list[Reject | None]

    def kept(self) -> tuple[list[list[str]], list[str | None], list[str]]:
        """Give the texts, checkpoint languages and language codes of the rows that stay."""
        stay = [i for i, reject in enumerate(self.rejects) if reject is None]
        columns = [[str(column[i]) for i in stay] for column in self.columns]
        return columns, [self.langs[i] for i in stay], [str(self.codes[i]) for i in stay]

    def kept_ids(self) -> list[str | None]:
        return [row_id for row_id, reject in zip(self.ids, self.rejects, strict=True) if reject is None]


def _text_problem(column: str, text: str | None, bad_byte: int | None, max_chars: int) -> tuple[str, str] | None:
    if text is None:
        return "null_text", f"column {column} is null"
    if bad_byte is not None:
        return "invalid_utf8", f"column {column}: byte {bad_byte} is not UTF-8"
    if not text.strip():
        return "empty_text", f"column {column} is empty"
    if len(text) > max_chars:
        return "too_many_chars", f"column {column} has {len(text):,} characters; tokenizer.max_chars is {max_chars:,}"
    return None


def _ids(rows: pa.RecordBatch, name: str | None) -> tuple[list[str | None], dict[int, int]]:
    if name is None:
        return [None] * len(rows), {}
    column = rows.column(name)
    if pa.types.is_integer(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()], {}
    return decode_text(column)


def _lists(borders: np.ndarray[Any, np.dtype[np.int32]], values: np.ndarray[Any, np.dtype[np.int32]]) -> pa.Array:
    kind = pa.list_(pa.field("item", pa.int32(), nullable=False))
    return pa.ListArray.from_arrays(pa.array(borders, pa.int32()), pa.array(values, pa.int32()), type=kind)
