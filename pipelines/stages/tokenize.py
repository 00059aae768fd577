"""Tokenize: from texts to token ids, each row by the rules of its own language; rows nothing can mend are rejected."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.job.sections import COUNTS
from pipelines.output.ledger import UNKNOWN_LANG
from pipelines.rows.schemas import (
    INPUT_IDS,
    LANG,
    LENGTHS,
    OFFSETS,
    ROW,
    WINDOW_STARTS,
    WORD_IDS,
    Words,
    decode_text,
    decode_texts,
    lists,
    whole,
)
from pipelines.rows.shard import Reject
from pipelines.stages.run_stage import run_stage
from pipelines.stages.time_limit import time_limit
from xlm_core.decoding import text_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipelines.job.job import InputSpec, PolicySpec, TokenizerSpec
    from pipelines.rows.shard import Shard
    from pipelines.stages.time_limit import ShardLimit
    from xlm_core import Encoding, XLMTokenizer


_CODE = re.compile(r"[\w-]{1,16}")  # of a language; what looks otherwise may be a text, which is not shown


@dataclass(frozen=True)
class TokenizeSettings:
    """What a tokenizer process needs.

    Attributes:
        load: builds the tokenizer, once in each process.
        input: which columns are what.
        tokenizer: lengths and what to do with longer rows; `max_length` is within the model's positions.
        policy: what to do with rows of an unknown language.
        mask_marker: what stands for a mask in a text, if a task fills masks.
        has_choices: whether the texts of a row are a premise and choices.
        settled: for a shard's id, rows that the driver has judged already, by their numbers in the file: reason and
            detail of each.
        schema: of the rows handed on.
        limit: on the time for a shard.
    """

    load: Callable[[], XLMTokenizer]
    input: InputSpec
    tokenizer: TokenizerSpec
    policy: PolicySpec
    mask_marker: str | None
    has_choices: bool
    settled: dict[str, dict[int, tuple[str, str]]]
    schema: pa.Schema
    limit: ShardLimit


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
        self._tokenizer = self._tokenizer or self._settings.load()
        with time_limit(self._settings.limit.seconds(len(shard.rows))):
            return self._tokenize(self._settle(shard), self._tokenizer)

    def _tokenize(self, shard: Shard, tokenizer: XLMTokenizer) -> Shard:
        rows = list(self._rows(shard, tokenizer))
        kept = [row for row in rows if row.problem is None]
        shard = shard.reject(
            [row.problem is None for row in rows],
            [Reject(row.number, row.id, *row.problem) for row in rows if row.problem is not None],
        )
        tokens = _Tokens.of(kept, self._encode(kept, tokenizer))
        return self._fit(self._with_tokens(shard, kept, tokens, tokenizer), kept, tokens)

    def _settle(self, shard: Shard) -> Shard:
        """Take out what the driver has judged, before anything else is done: such a row may have killed a process."""
        settled = self._settings.settled.get(shard.id)
        if not settled:
            return shard
        numbers: list[int] = shard.rows.column(ROW).to_pylist()
        ids, _ = _ids(shard.rows, self._settings.input.id)
        judged = [Reject(n, row_id, *settled[n]) for n, row_id in zip(numbers, ids, strict=True) if n in settled]
        return shard.reject([number not in settled for number in numbers], judged)

    def _encode(self, kept: list[_Row], tokenizer: XLMTokenizer) -> Encoding:
        """Encode all texts of the rows; a row with choices has a sequence for each."""
        spec = self._settings.tokenizer
        texts = [texts for row in kept for texts in row.texts]
        first, *second = zip(*texts, strict=True) if texts else [()]
        return tokenizer.encode_batch(
            first,
            [row.lang for row in kept for _ in row.texts],
            pairs=second[0] if second else None,
            max_length=spec.max_length,
            overlap=spec.overlap_tokens if spec.on_overflow == "window" else None,
            bypass=spec.bypass_tokenizer,
            mask_marker=self._settings.mask_marker,
        )

    def _rows(self, shard: Shard, tokenizer: XLMTokenizer) -> Iterator[_Row]:
        """Look at every row before it is tokenized; one that has to go has one reason, the first that is found."""
        spec, rows = self._settings.input, shard.rows
        columns = [decode_texts(rows.column(name)) for name in spec.text_columns]
        if isinstance(spec.lang, str):
            codes, bad_codes = decode_text(rows.column(spec.lang))
        else:
            codes, bad_codes = [spec.lang.fixed] * len(rows), {}
        ids, bad_ids = _ids(rows, spec.id)
        numbers: list[int] = rows.column(ROW).to_pylist()
        for i, code in enumerate(codes):
            lang = tokenizer.resolve_lang(code) if code is not None and i not in bad_codes else None
            problem: tuple[str, str] | None = None
            if i in bad_ids:
                problem = "invalid_utf8", f"column {spec.id}: byte {bad_ids[i]} of the id is not UTF-8"
            elif spec.id is not None and ids[i] is None:
                problem = "null_id", f"column {spec.id} is null"
            elif code is None or i in bad_codes:
                problem = "null_lang", f"column {spec.lang} is {'null' if code is None else 'not UTF-8'}"
            elif lang is None and self._settings.policy.unknown_lang == "reject":
                shown = code if _CODE.fullmatch(code) else f"of {len(code):,} characters"
                problem = "unknown_lang", f"the checkpoint knows no language {shown}"
            texts = [
                (name, found[i], bad.get(i)) for name, (found, bad) in zip(spec.text_columns, columns, strict=True)
            ]
            if self._settings.has_choices:
                texts = list(_choices(texts))
                if problem is None and len(texts) < 2:
                    problem = "no_choices", f"column {spec.text_columns[1]} holds no choice"
            for name, text, bad_byte in texts:
                problem = problem or _text_problem(name, text, bad_byte, self._settings.tokenizer.max_chars)
            known = [text if text is not None else "" for _, text, _ in texts]
            sequences = [(known[0], choice) for choice in known[1:]] if self._settings.has_choices else [tuple(known)]
            yield _Row(numbers[i], ids[i], str(code), lang, sequences, problem)

    def _with_tokens(self, shard: Shard, kept: list[_Row], tokens: _Tokens, tokenizer: XLMTokenizer) -> Shard:
        encoding, of_row = tokens.encoding, tokens.borders
        lang_ids = [-1 if row.lang is None else tokenizer.lang2id.get(row.lang, -1) for row in kept]
        token_borders = encoding.cu_seqlens[of_row]
        arrays: dict[str, pa.Array] = {
            LANG: pa.array(lang_ids, pa.int32()),
            INPUT_IDS: lists(token_borders, encoding.input_ids),
            LENGTHS: lists(of_row, np.diff(encoding.cu_seqlens)),
            WINDOW_STARTS: lists(of_row, encoding.window_starts),
            OFFSETS: lists(token_borders * 2, encoding.offsets.reshape(-1)),
            WORD_IDS: lists(token_borders, encoding.word_ids),
        }
        counts = (tokens.num_tokens, tokens.num_truncated, tokens.num_unknown)
        arrays |= {name: pa.array(count, pa.int32()) for name, count in zip(COUNTS, counts, strict=True)}
        schema, given = self._settings.schema, set(shard.rows.schema.names)
        columns = [shard.rows.column(name) if name in given else arrays[name] for name in schema.names]
        return replace(shard, rows=pa.RecordBatch.from_arrays(columns, schema=schema))

    def _fit(self, shard: Shard, kept: list[_Row], tokens: _Tokens) -> Shard:
        """Reject rows that turned out to hold no token, or more than the job lets be cut off; count the others."""
        num_special = 1 + min(len(self._settings.input.text_columns), 2)
        fed = np.diff(tokens.encoding.cu_seqlens[tokens.borders])
        bare = tokens.bare_rows(num_special - 1)
        counts = (fed, tokens.num_tokens, tokens.num_truncated, tokens.num_unknown, bare)
        rejects: list[Reject] = []
        keep: list[bool] = []
        langs: dict[str, list[int]] = {}
        truncated = 0
        for row, *numbers in zip(kept, *(count.tolist() for count in counts), strict=True):
            num_fed, num_tokens, cut, unknown, is_bare = numbers
            problem: tuple[str, str] | None = None
            if is_bare and not cut:
                problem = "empty_text", "no token is left of the text, or of one of its texts"
            elif cut and self._settings.tokenizer.on_overflow != "truncate":
                problem = "too_many_tokens", self._too_many(num_tokens)
            keep.append(problem is None)
            if problem is not None:
                rejects.append(Reject(row.number, row.id, *problem))
                continue
            truncated += cut > 0
            # a wrong input.lang under unknown_lang: neutral would make every text a language
            counted = langs.setdefault(row.code if row.lang is not None else UNKNOWN_LANG, [0, 0, 0, 0])
            for i, number in enumerate((1, num_fed, cut, unknown)):
                counted[i] += number
        total = sum(counted[1] for counted in langs.values())
        stats: dict[str, Any] = {"tokens": total, "rows_truncated": truncated, "langs": langs}
        return replace(shard, stats=shard.stats | stats).reject(keep, rejects)

    def _too_many(self, num_tokens: int) -> str:
        spec = self._settings.tokenizer
        why = ", of which the first text leaves windows no room" if spec.on_overflow == "window" else ""
        return f"{num_tokens} tokens{why}; tokenizer.max_length is {spec.max_length}"


class _Row(NamedTuple):
    """A row as Python values: its number in the file, and the reason and detail of why it has to go, if it has."""

    number: int
    id: str | None
    code: str  # the language as it stands in the data
    lang: str | None  # the checkpoint's own code
    texts: list[tuple[str | Words, ...]]  # of each of its sequences, before windows: one text, or two
    problem: tuple[str, str] | None


@dataclass(frozen=True)
class _Tokens:
    """What became of the rows' texts.

    Attributes:
        encoding: of all texts.
        borders: [N + 1], for each row the first of its sequences.
        num_tokens, num_truncated, num_unknown: [N], over all sequences of a row before windows.
    """

    encoding: Encoding
    borders: NDArray[np.int64]
    num_tokens: NDArray[np.int64]
    num_truncated: NDArray[np.int64]
    num_unknown: NDArray[np.int64]

    @classmethod
    def of(cls, rows: list[_Row], encoding: Encoding) -> _Tokens:
        row_of_text = np.repeat(np.arange(len(rows)), [len(row.texts) for row in rows])
        borders = np.searchsorted(row_of_text[encoding.row_ids], np.arange(len(rows) + 1))
        counts = (encoding.num_tokens, encoding.num_truncated, encoding.num_unknown)
        sums = (np.bincount(row_of_text, count, minlength=len(rows)).astype(np.int64) for count in counts)
        return cls(encoding, borders, *sums)

    def bare_rows(self, num_texts: int) -> NDArray[np.bool_]:
        """Find rows with a sequence of which one of the texts, `num_texts` in each, has no token; bool [N]."""
        encoding = self.encoding
        sequence_T = np.repeat(np.arange(len(encoding)), np.diff(encoding.cu_seqlens))
        held = np.zeros((num_texts, len(encoding)), np.bool_)
        text_T = text_ids(encoding.word_ids, encoding.cu_seqlens)
        for text in range(num_texts):
            held[text, sequence_T[text_T == text]] = True
        bare_S = np.concatenate([[0], np.cumsum(~held.all(0))])
        return bare_S[self.borders[1:]] > bare_S[self.borders[:-1]]


_Text = tuple[str, "str | Words | None", "int | None"]  # the column's name, the text, and its first bad byte


def _choices(texts: list[_Text]) -> Iterator[_Text]:
    """Give a row's premise and its choices: of a column of lists each item, else columns up to the last not null."""
    premise, *choices = texts
    yield premise
    if len(choices) == 1 and isinstance(words := choices[0][1], list):
        yield from ((choices[0][0], choice, choices[0][2]) for choice in words)
        return
    while choices and choices[-1][1] is None:
        choices.pop()
    yield from choices


def _text_problem(
    column: str, text: str | Words | None, bad_byte: int | None, max_chars: int
) -> tuple[str, str] | None:
    if text is None:
        return "null_text", f"column {column} is null"
    if bad_byte is not None:
        return "invalid_utf8", f"column {column}: byte {bad_byte} is not UTF-8"
    text = whole(text)
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
