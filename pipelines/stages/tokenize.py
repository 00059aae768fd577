"""The tokenize stage: reject unusable rows, and turn the texts of all others into token ids.

Shapes: N rows, S sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.rows import (
    INPUT_IDS,
    LANG,
    LENGTHS,
    NUM_LENGTH_BINS,
    OFFSETS,
    TOKEN_COUNTS,
    UNKNOWN_LANG,
    WINDOW_STARTS,
    WORD_IDS,
    LangCounts,
    RejectedRow,
    Rejection,
    RejectionReason,
    length_bin,
    to_list_column,
)
from pipelines.stages.checks import LangChecks, RowChecks
from pipelines.stages.cpu_process import CpuProcess
from pipelines.stages.time_limit import report_progress

if TYPE_CHECKING:
    from pipelines.rows import PreRejected, Shard
    from pipelines.stages.checks import InputRow
    from pipelines.stages.settings import TokenizeStageSettings
    from xlm_core import XLMTokenizer
    from xlm_core.tokenizer import RowTokens

# Checkpoints have up to 100 languages. If a shard spells them in more ways than this, its further rows are counted
# under the checkpoint's codes.
_MAX_LANGS = 1_000


class Tokenize(CpuProcess["XLMTokenizer"]):
    """A process of the tokenizer pool. Vocabulary and segmenters stay loaded from shard to shard.

    Args:
        settings: what the process needs.
        pre_rejected, max_starts, niceness: see `CpuProcess`.
    """

    stage = "tokenize"
    process = "tokenizer"

    def __init__(
        self,
        settings: TokenizeStageSettings,
        pre_rejected: PreRejected,
        *,
        max_starts: int | None = None,
        niceness: int = 0,
    ):
        super().__init__(settings.schema, settings.input.id, settings.timeout_s, pre_rejected, max_starts, niceness)
        self._settings = settings
        self._needs_offsets = OFFSETS in settings.schema.names

    def load(self) -> XLMTokenizer:
        """See `CpuProcess`."""
        return self._settings.load()

    def compute(self, shard: Shard, loaded: XLMTokenizer) -> Shard:
        """Tokenize the rows of a shard, and count tokens and languages."""
        settings, tokenizer = self._settings, loaded
        checks = RowChecks(
            input=settings.input,
            langs=LangChecks(tokenizer, settings.input, settings.policy),
            has_choices=settings.has_choices,
            max_chars=settings.tokenizer.max_chars,
        )
        rows = list(checks.check(shard.rows))
        kept = [row for row in rows if row.rejection is None]
        rejected = [row.rejected_row for row in rows if row.rejected_row is not None]
        shard = shard.reject([row.rejection is None for row in rows], rejected)
        shard = replace(shard, stats=replace(shard.stats, segmenters=self._used_segmenters(kept, tokenizer)))
        tokens = self._encode(kept, tokenizer)
        return self._reject_by_tokens(self._with_tokens(shard, kept, tokens, tokenizer), kept, tokens)

    def _used_segmenters(self, rows: list[InputRow], tokenizer: XLMTokenizer) -> dict[str, str]:
        """Return the segmenters of these rows, also of those that will be rejected for their number of tokens."""
        langs = {row.checkpoint_lang for row in rows if row.checkpoint_lang is not None}
        used = tokenizer.segmenters.describe(langs).keys() if rows else ()
        return {name: library for name, library in self._settings.segmenters.items() if name in used}

    def _encode(self, rows: list[InputRow], tokenizer: XLMTokenizer) -> RowTokens:
        from xlm_core.tokenizer import RowTokens  # here, because processes of other stages do not need it

        spec = self._settings.tokenizer
        return RowTokens.encode(
            tokenizer,
            [row.texts for row in rows],
            [row.checkpoint_lang for row in rows],
            max_length=self._settings.max_length,
            overlap=spec.overlap_tokens if spec.on_overflow == "window" else None,
            bypass_tokenizer=spec.bypass_tokenizer,
            mask_marker=self._settings.mask_marker,
            with_offsets=self._needs_offsets,
            on_row=report_progress,
        )

    def _with_tokens(self, shard: Shard, rows: list[InputRow], tokens: RowTokens, tokenizer: XLMTokenizer) -> Shard:
        encoding, row_offsets = tokens.encoding, tokens.row_offsets
        lang_ids = [
            -1 if row.checkpoint_lang is None else tokenizer.lang2id.get(row.checkpoint_lang, -1) for row in rows
        ]
        token_offsets = encoding.cu_seqlens[row_offsets]
        arrays: dict[str, pa.Array] = {
            LANG: pa.array(lang_ids, pa.int32()),
            INPUT_IDS: to_list_column(token_offsets, encoding.input_ids),
            LENGTHS: to_list_column(row_offsets, np.diff(encoding.cu_seqlens)),
            WINDOW_STARTS: to_list_column(row_offsets, encoding.window_starts),
        }
        if self._needs_offsets:
            arrays[OFFSETS] = to_list_column(token_offsets * 2, encoding.offsets.reshape(-1))
            arrays[WORD_IDS] = to_list_column(token_offsets, encoding.word_ids)
        counts = (tokens.num_tokens, tokens.num_truncated, tokens.num_unknown)
        arrays |= {name: pa.array(count, pa.int32()) for name, count in zip(TOKEN_COUNTS, counts, strict=True)}
        schema, input_columns = self._settings.schema, set(shard.rows.schema.names)
        columns = [shard.rows.column(name) if name in input_columns else arrays[name] for name in schema.names]
        return replace(shard, rows=pa.RecordBatch.from_arrays(columns, schema=schema))

    def _reject_by_tokens(self, shard: Shard, rows: list[InputRow], tokens: RowTokens) -> Shard:
        """Reject rows without tokens, and rows that are too long if the job does not truncate; count all others."""
        num_special = 1 + min(len(self._settings.input.text_columns), 2)
        num_fed = np.diff(tokens.encoding.cu_seqlens[tokens.row_offsets])
        has_empty_text = tokens.has_empty_text(num_special - 1)
        counts = (num_fed, tokens.num_tokens, tokens.num_truncated, tokens.num_unknown, has_empty_text)
        rejected: list[RejectedRow] = []
        keep: list[bool] = []
        langs: dict[str, list[int]] = {}
        lengths: dict[str, list[int]] = {}
        rows_truncated = 0
        for row, *numbers in zip(rows, *(count.tolist() for count in counts), strict=True):
            fed, num_tokens, truncated, unknown, is_empty = numbers
            rejection: Rejection | None = None
            if is_empty and not truncated:
                rejection = Rejection(RejectionReason.EMPTY_TEXT, "the text, or one of its texts, has no tokens")
            elif truncated and self._settings.tokenizer.on_overflow != "truncate":
                rejection = Rejection(RejectionReason.TOO_MANY_TOKENS, self._describe_overflow(num_tokens))
            keep.append(rejection is None)
            if rejection is not None:
                rejected.append(row.rejected_for(rejection))
                continue
            rows_truncated += truncated > 0
            # With a wrong input.lang and unknown_lang: neutral, every text would otherwise count as a language.
            lang = row.lang if row.lang is not None and row.checkpoint_lang is not None else UNKNOWN_LANG
            if lang not in langs and len(langs) >= _MAX_LANGS:
                lang = row.checkpoint_lang or UNKNOWN_LANG
            sums = langs.setdefault(lang, [0, 0, 0, 0])
            for i, number in enumerate((1, fed, truncated, unknown)):
                sums[i] += number
            lengths.setdefault(lang, [0] * NUM_LENGTH_BINS)[length_bin(num_tokens)] += 1
        by_lang = tuple(LangCounts(lang, *sums, lengths=tuple(lengths[lang])) for lang, sums in langs.items())
        num_tokens = sum(counts.tokens for counts in by_lang)
        stats = replace(shard.stats, tokens=num_tokens, rows_truncated=rows_truncated, langs=by_lang)
        return replace(shard, stats=stats).reject(keep, rejected)

    def _describe_overflow(self, num_tokens: int) -> str:
        spec = self._settings.tokenizer
        cause = ", and the first text leaves no room for windows" if spec.on_overflow == "window" else ""
        return f"{num_tokens} tokens{cause}; tokenizer.max_length is {self._settings.max_length}"
