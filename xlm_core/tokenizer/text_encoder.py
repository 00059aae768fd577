"""Encode texts, or lists of words, without special tokens.

Letters: N texts, P parts of texts, W words, T tokens.
"""

from __future__ import annotations

import re
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from xlm_core.ragged import cumulative_lengths
from xlm_core.text import WordFinder
from xlm_core.tokenizer.piece_table import PieceTable
from xlm_core.tokenizer.sequences import TextTokens
from xlm_core.tokenizer.subwords import Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from xlm_core.text import Segmenters
    from xlm_core.tokenizer.subwords import WordEncoder

_TEXTS_PER_GROUP = 2_000  # encoded at once: a shard then takes little more memory than its tokens
_MAX_MEMORY_BYTES = 256 << 20  # checked after each group


class _Parts(NamedTuple):
    """What is segmented alone: a text, or its words if it is a list, cut at literals. Each text has a part.

    Attributes:
        texts: [P], the number of a word instead of a text for a literal.
        langs: [P].
        text_ids: [P], the text of each part; it never decreases.
        offsets: [P], the first character of the part in its text.
        given_ids: [P], the index of the word in its list; -1 for parts of strings.
    """

    texts: list[str | int]
    langs: list[str | None]
    text_ids: list[int]
    offsets: list[int]
    given_ids: list[int]


class TextEncoder:
    """Encodes texts without special tokens. Remembers the words that it has seen, within a limit of memory.

    Several threads may use it; one of them encodes at a time.

    Args:
        segmenters: split texts into words.
        encode_word: splits words into subwords.
        is_segmented: texts are already segmented, see `Segmenters.split`.
    """

    def __init__(self, segmenters: Segmenters, encode_word: WordEncoder, *, is_segmented: bool = False):
        self._arguments = segmenters, encode_word, is_segmented
        self._segment = segmenters.split if is_segmented else segmenters.segment
        self._encode_word = encode_word
        self._lock = Lock()  # on what it remembers
        self._table = PieceTable(encode_word.encode)
        self._finder = WordFinder(segmenters, self._table.number, is_segmented=is_segmented)

    def __reduce__(self) -> tuple[partial[TextEncoder], tuple[object, ...]]:
        segmenters, encode_word, is_segmented = self._arguments  # a copy in another process begins without memory
        return partial(TextEncoder, is_segmented=is_segmented), (segmenters, encode_word)

    def encode(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        literal_ids: Mapping[str, int],
        *,
        with_offsets: bool = True,
        on_text: Callable[[], None] | None = None,
    ) -> TextTokens:
        """Encode strings, or lists of words.

        The words of a list are encoded one by one, and the tokens' word ids are indices of the list.

        Args:
            texts: N strings or lists.
            langs: their languages.
            literal_ids: strings that become one token, with this id, anywhere in a text.
            with_offsets: whether to compute the characters of each token.
            on_text: called after each text.
        """
        groups: list[TextTokens] = []
        for first in range(0, len(texts), _TEXTS_PER_GROUP):
            group = slice(first, first + _TEXTS_PER_GROUP)
            with self._lock:
                try:
                    groups.append(self._encode_group(texts[group], langs[group], literal_ids, with_offsets, on_text))
                except BaseException:
                    self._clear()  # an interrupt may have come between two steps of adding a word
                    raise
                if self._table.size_bytes + self._finder.size_bytes > _MAX_MEMORY_BYTES:
                    self._clear()
        return TextTokens.concatenate(groups)

    def clear_memory(self) -> None:
        """Forget all words."""
        with self._lock:
            self._clear()

    def tokenize(self, text: str, lang: str | None, literal_ids: Mapping[str, int]) -> list[str]:
        """Return the tokens of a text as strings, including those that are not in the vocabulary."""
        found: list[str] = []
        for part in _split_at_literals(text, _pattern(literal_ids)):
            if part in literal_ids:
                found.append(part)
            else:
                for word in self._segment(part, lang).words:
                    found += [subword for subword, _, _ in self._encode_word.split(word)]
        return found

    def _clear(self) -> None:
        self._finder.clear()
        self._table.clear()

    def _encode_group(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        literal_ids: Mapping[str, int],
        with_offsets: bool,
        on_text: Callable[[], None] | None,
    ) -> TextTokens:
        parts = None
        if literal_ids or not all(isinstance(text, str) for text in texts):
            parts = self._cut(texts, langs, literal_ids)
            if on_text is not None:
                on_text = call_after(on_text, np.diff(parts.text_ids, append=len(texts)).tolist())
        whole = cast("Sequence[str]", texts)
        words = self._finder.find(parts.texts if parts else whole, parts.langs if parts else langs, on_text)
        pieces = self._table.gather(words.numbers, with_offsets=with_offsets)
        word_starts, sizes, given_W = words.starts, words.sizes, None
        if parts:
            word_starts = word_starts + np.repeat(np.array(parts.offsets, np.int32), sizes)
            given_W = np.repeat(np.array(parts.given_ids, np.int32), sizes)
            sizes = np.bincount(parts.text_ids, sizes, minlength=len(texts)).astype(np.int64)
        cu_words = cumulative_lengths(sizes)
        # Words without pieces, such as spaces, are not counted.
        word_ids = cumulative_lengths((pieces.sizes > 0).view(np.int8))
        word_ids = word_ids[:-1] - np.repeat(word_ids[cu_words[:-1]], sizes)
        if given_W is not None:
            word_ids = np.where(given_W < 0, word_ids, given_W)
        starts_T = np.repeat(word_starts, pieces.sizes) if with_offsets else pieces.starts
        return TextTokens(
            pieces.ids,
            pieces.starts + starts_T,
            pieces.ends + starts_T,
            np.repeat(word_ids, pieces.sizes),
            cumulative_lengths(pieces.sizes)[cu_words],
        )

    def _cut(
        self, texts: Sequence[str | Sequence[str]], langs: Sequence[str | None], literal_ids: Mapping[str, int]
    ) -> _Parts:
        found = _Parts([], [], [], [], [])
        pattern = _pattern(literal_ids)
        for text_id, (text, lang) in enumerate(zip(texts, langs, strict=True)):
            offset = 0
            for given_id, whole in [(-1, text)] if isinstance(text, str) else enumerate(text or [""]):
                for part in _split_at_literals(whole, pattern):
                    literal = literal_ids.get(part)
                    found.texts.append(part if literal is None else self._table.number(Literal(part, literal)))
                    found.langs.append(lang)
                    found.text_ids.append(text_id)
                    found.offsets.append(offset)
                    found.given_ids.append(given_id)
                    offset += len(part)
                offset += 1
        return found


def call_after(function: Callable[[], None], is_last: Iterable[object]) -> Callable[[], None]:
    """Return a function that calls `function` only when the next value of `is_last` is true."""
    values = iter(is_last)

    def call() -> None:
        if next(values):
            function()

    return call


def _pattern(literals: Mapping[str, int]) -> re.Pattern[str] | None:
    longest_first = sorted(literals, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if literals else None


def _split_at_literals(text: str, literals: re.Pattern[str] | None) -> list[str]:
    """Split a text into literals and the text around them; an empty text is one part."""
    parts = [text] if literals is None else literals.split(text)
    return [part for part in parts if part] or [""]
