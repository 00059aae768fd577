"""Run the texts of a call: tokenize them, run the model in packed batches, and collect the results of one task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from xlm_core.decoding import find_distinct_rows
from xlm_core.errors import DeviceMemoryError, TokenizerError
from xlm_core.inference import default_max_length, max_prompt_length, run_collectors
from xlm_core.tokenizer import RowTokens
from xlm_core.xlm.heads import LoadedHeads
from xlm_core.xlm.progress import CallProgress
from xlm_core.xlm.texts import Inputs, read_langs, read_texts, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, Model
    from xlm_core.reference import XLMTokenizer
    from xlm_core.xlm.texts import Text, Texts

ResultT = TypeVar("ResultT")
OnOverflow = Literal["truncate", "window", "error"]
UnknownLang = Literal["error", "neutral"]
RowTexts: TypeAlias = "list[list[tuple[Text, ...]]]"
Start: TypeAlias = "Callable[[Sequences, RowTexts], Collector[ResultT]]"
"""Builds a collector from sequences and their texts."""

_CHUNK_ROWS = 16_384  # rows that are tokenized and computed at once, as in a shard of a job; bounds memory


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How texts are run; see `XLM.from_pretrained`."""

    max_length: int | None
    on_overflow: OnOverflow
    overlap_tokens: int
    bypass_tokenizer: bool
    unknown_lang: UnknownLang
    progress: bool


@dataclass(frozen=True)
class Computed(Generic[ResultT]):
    """The result of one chunk of rows. Identical rows are computed once.

    Attributes:
        result: of the collector, for U distinct rows.
        sequences: of these rows.
        texts: of these rows.
        source: int64 [N], for each row of the chunk, the index of the distinct row that it is identical to.
    """

    result: ResultT
    sequences: Sequences
    texts: RowTexts
    source: NDArray[np.int64]


class Runner:
    """A loaded trunk with its tokenizer.

    Attributes:
        model: the trunk, its device and its precision.
        tokenizer: the checkpoint's tokenizer.
        settings: how texts are run.
    """

    def __init__(self, model: Model, tokenizer: XLMTokenizer, settings: RunSettings):
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self._heads = LoadedHeads(model)

    def _read(
        self, texts: str | Texts, lang: str | Texts | None, pairs: str | Texts | None = None, names: str = "texts pairs"
    ) -> Inputs:
        """Read the texts of a call, or pairs of texts; `names` are those of the arguments, for messages."""
        name, pairs_name = names.split()
        first = read_texts(name, texts)
        is_single = isinstance(texts, str)
        sequences: list[tuple[Text, ...]] = [(text,) for text in first]
        if pairs is not None:
            second = read_texts(pairs_name, pairs)
            got, expected = ("one text" if isinstance(values, str) else "a list" for values in (pairs, texts))
            if got != expected:
                raise ValueError(f"{pairs_name}: got {got}, expected {expected}, because {name} is {expected}")
            if len(second) != len(first):
                raise ValueError(f"{pairs_name}: got {len(second)}, expected {len(first)}, one for each of {name}")
            sequences = list(zip(first, second, strict=True))
        return Inputs([[sequence] for sequence in sequences], self._read_langs(lang, len(first)), is_single)

    def _read_langs(self, lang: str | Texts | None, num_texts: int) -> list[str | None]:
        if lang is None:
            return [None] * num_texts
        langs = read_langs(self.tokenizer, lang, num_texts, neutral=self.settings.unknown_lang == "neutral")
        if not self.settings.bypass_tokenizer:
            try:
                for code in sorted({code for code in langs if code is not None}):
                    self.tokenizer.segmenters.prepare(code)
            except TokenizerError as error:  # names the settings of a job, which are options of `from_pretrained`
                raise TokenizerError(str(error).replace("tokenizer.", "")) from None
        return langs

    def _run(
        self,
        inputs: Inputs,
        start: Start[ResultT],
        *,
        with_offsets: bool = False,
        mask_marker: str | None = None,
        max_new_tokens: int = 0,
        merges_windows: bool = True,
    ) -> Iterator[Computed[ResultT]]:
        """Yield the results of all rows, chunk by chunk.

        Args:
            inputs: texts and languages.
            start: builds the collector of a chunk.
            with_offsets: whether the collector reads word ids and offsets.
            mask_marker: the string that marks a mask.
            max_new_tokens: how many tokens are generated; they need positions in the model.
            merges_windows: whether the collector can merge the results of windows.

        Raises:
            ValueError: a text has no tokens, or too many.
            DeviceMemoryError, NotFiniteError: see `run_collectors`.
        """
        settings, num_rows = self.settings, len(inputs.texts)
        if settings.on_overflow == "window" and not merges_windows:
            raise ValueError("on_overflow: this task cannot merge windows; load the model with truncate or error")
        options = {
            "max_length": self._max_length(max_new_tokens),
            "overlap": settings.overlap_tokens if settings.on_overflow == "window" else None,
            "bypass_tokenizer": settings.bypass_tokenizer,
            "mask_marker": mask_marker,
            "with_offsets": with_offsets,
        }
        with CallProgress(sum(map(len, inputs.texts)), num_rows, enabled=settings.progress) as progress:
            for first in range(0, num_rows, _CHUNK_ROWS):
                texts, langs = inputs.texts[first : first + _CHUNK_ROWS], inputs.langs[first : first + _CHUNK_ROWS]
                tokens = RowTokens.encode(self.tokenizer, texts, langs, **options, on_row=progress.count_tokenized)
                self._refuse(tokens, len(texts[0][0]), first, options["max_length"])
                lang_ids = [-1 if code is None else self.tokenizer.lang2id.get(code, -1) for code in langs]
                sequences = tokens.to_sequences(np.array(lang_ids, np.int32), with_offsets=with_offsets)
                yield self._compute(sequences, texts, start, _RowsDone(progress, first, len(texts)), with_offsets)

    def _compute(
        self, sequences: Sequences, texts: RowTexts, start: Start[ResultT], on_progress: _RowsDone, quotes: bool
    ) -> Computed[ResultT]:
        num_texts = len(texts[0][0]) if quotes else 0
        quoted = [[_to_hashable(row[0][i]) for row in texts] for i in range(num_texts)]
        distinct = find_distinct_rows(sequences, quoted)
        source = np.arange(len(texts))
        if distinct is not None:
            sequences, source = sequences.take(distinct.rows), distinct.source
            texts = [texts[i] for i in distinct.rows.tolist()]
        try:
            (result,), _ = run_collectors(self.model, sequences, lambda: [start(sequences, texts)], on_progress)
        except DeviceMemoryError as error:
            position = on_progress.first + int(np.argmax(source == error.row))
            raise DeviceMemoryError(error.device, position, error.num_tokens) from None
        return Computed(result, sequences, texts, source)

    def _max_length(self, max_new_tokens: int) -> int:
        config, max_length = self.model.trunk.config, self.settings.max_length
        longest = max_prompt_length(config, max_new_tokens)
        if (max_length or 3) > longest:
            raise ValueError(
                f"max_new_tokens: got {max_new_tokens}, but texts of {max_length or 3} tokens leave fewer of the "
                f"{config.max_position_embeddings} positions of the model; lower it, or max_length"
            )
        return max_length or default_max_length(config, max_new_tokens)

    def _refuse(self, tokens: RowTokens, num_texts: int, first: int, max_length: Any) -> None:
        """Refuse rows without tokens, and those that are cut off although the settings do not allow it."""
        truncated = tokens.num_truncated > 0
        empty = np.flatnonzero(tokens.has_empty_text(num_texts) & ~truncated) + first
        refuse("texts", empty.tolist(), "without any token", "drop them")
        if self.settings.on_overflow != "truncate":
            advice = 'load the model with a higher max_length, or on_overflow="truncate"'
            longer = np.flatnonzero(truncated) + first
            with_windows = self.settings.on_overflow == "window"
            no_room = " and the first of a pair leaves no room for windows," if with_windows else ""
            refuse("texts", longer.tolist(), f"longer than max_length, {max_length} tokens,{no_room}", advice)


class _RowsDone:
    """Shows the share of a chunk that is done as a number of rows of the call."""

    def __init__(self, progress: CallProgress, first: int, num_rows: int):
        self._progress, self.first, self._num_rows = progress, first, num_rows

    def __call__(self, share: float) -> None:
        self._progress.set_computed(self.first + share * self._num_rows)


def _to_hashable(text: Text) -> Hashable:
    return text if isinstance(text, str) else tuple(text)
