"""Tokenize: from texts to token ids, each row by the rules of its own language; rows nothing can mend are rejected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.columns import INPUT_IDS, LANG, OFFSETS, ROW, WORD_IDS, decode_text
from pipelines.shard import REPEATED, Reject, Shard, run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        rows = list(self._rows(shard, tokenizer))
        kept = [row for row in rows if row.problem is None]
        shard = shard.reject(
            [row.problem is None for row in rows],
            [Reject(row.number, row.id, *row.problem) for row in rows if row.problem is not None],
        )
        first, *second = zip(*(row.texts for row in kept), strict=True) if kept else [()]
        encoding = tokenizer.encode_batch(
            first,
            [row.lang for row in kept],
            pairs=second[0] if second else None,
            max_length=self._settings.tokenizer.max_length,
        )
        return self._fit(self._with_tokens(shard, kept, encoding, tokenizer), kept, encoding)

    def _rows(self, shard: Shard, tokenizer: XLMTokenizer) -> Iterator[_Row]:
        """Look at every row before it is tokenized; one that has to go has one reason, the first that is found."""
        spec, rows = self._settings.input, shard.rows
        columns = [decode_text(rows.column(name)) for name in spec.text_columns]
        if isinstance(spec.lang, str):
            codes, bad_codes = decode_text(rows.column(spec.lang))
        else:
            codes, bad_codes = [spec.lang.fixed] * len(rows), {}
        ids, bad_ids = _ids(rows, spec.id)
        numbers: list[int] = rows.column(ROW).to_pylist()
        repeated = set(self._settings.duplicates.get(shard.id, ()))
        for i, code in enumerate(codes):
            lang = tokenizer.resolve_lang(code) if code is not None and i not in bad_codes else None
            problem: tuple[str, str] | None = None
            if i in bad_ids:
                problem = "invalid_utf8", f"column {spec.id}: byte {bad_ids[i]} of the id is not UTF-8"
            elif spec.id is not None and ids[i] is None:
                problem = "null_id", f"column {spec.id} is null"
            elif numbers[i] in repeated:
                problem = REPEATED, "an earlier row has this id"
            elif code is None or i in bad_codes:
                problem = "null_lang", f"column {spec.lang} is {'null' if code is None else 'not UTF-8'}"
            elif lang is None and self._settings.policy.unknown_lang == "reject":
                problem = "unknown_lang", f"the checkpoint knows no language {code[:32]!r}"
            for name, (texts, bad) in zip(spec.text_columns, columns, strict=True):
                problem = problem or _text_problem(name, texts[i], bad.get(i), self._settings.tokenizer.max_chars)
            yield _Row(numbers[i], ids[i], str(code), lang, tuple(str(texts[i]) for texts, _ in columns), problem)

    def _with_tokens(self, shard: Shard, kept: list[_Row], encoding: Encoding, tokenizer: XLMTokenizer) -> Shard:
        lang_ids = [-1 if row.lang is None else tokenizer.lang2id.get(row.lang, -1) for row in kept]
        arrays: dict[str, pa.Array] = {
            LANG: pa.array(lang_ids, pa.int32()),
            INPUT_IDS: _lists(encoding.cu_seqlens, encoding.input_ids),
            OFFSETS: _lists(encoding.cu_seqlens * 2, encoding.offsets.reshape(-1)),
            WORD_IDS: _lists(encoding.cu_seqlens, encoding.word_ids),
        }
        schema = self._settings.schema
        columns = [arrays[name] if name in arrays else shard.rows.column(name) for name in schema.names]
        return replace(shard, rows=pa.RecordBatch.from_arrays(columns, schema=schema))

    def _fit(self, shard: Shard, kept: list[_Row], encoding: Encoding) -> Shard:
        """Reject rows that turned out to hold no token, or more than the job lets be cut off; count the others."""
        num_special = 1 + len(self._settings.input.text_columns)
        lengths: list[int] = np.diff(encoding.cu_seqlens).tolist()
        rejects: list[Reject] = []
        keep: list[bool] = []
        langs: dict[str, list[int]] = {}
        truncated = 0
        for row, length, cut in zip(kept, lengths, encoding.num_truncated.tolist(), strict=True):
            problem: tuple[str, str] | None = None
            if length + cut <= num_special:
                problem = "empty_text", "no token is left of the text"
            elif cut and self._settings.tokenizer.on_overflow == "reject":
                problem = "too_many_tokens", f"{length + cut} tokens; tokenizer.max_length is {length}"
            keep.append(problem is None)
            if problem is not None:
                rejects.append(Reject(row.number, row.id, *problem))
                continue
            truncated += cut > 0
            count = langs.setdefault(row.code, [0, 0])
            count[0] += 1
            count[1] += length
        tokens = sum(count[1] for count in langs.values())
        stats: dict[str, Any] = {"tokens": tokens, "rows_truncated": truncated, "langs": langs}
        return replace(shard, stats=shard.stats | stats).reject(keep, rejects)


class _Row(NamedTuple):
    """A row as Python values: its number in the file, and the reason and detail of why it has to go, if it has."""

    number: int
    id: str | None
    code: str  # the language as it stands in the data
    lang: str | None  # the checkpoint's own code
    texts: tuple[str, ...]
    problem: tuple[str, str] | None


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
