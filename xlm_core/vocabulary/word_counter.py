"""Count the words of texts, in the form in which they are split into subwords."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.tokenizer import ALL_SPECIAL_TOKENS, Literal, Pieces, TextEncoder, WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlm_core.text import Segmenters, Word

_MAX_REMEMBERED_WORDS = 1_000_000
_NOT_COUNTED = -1  # the name of a special token, which is not split


class WordCounter:
    """Counts words. A text is segmented as for a tokenizer with the same settings, by the same code.

    Args:
        segmenters: split texts into words.
        lowercase: lower-case words and remove accents.
        is_segmented: texts are already segmented, see `Segmenters.split`.
    """

    def __init__(self, segmenters: Segmenters, *, lowercase: bool = True, is_segmented: bool = False):
        self._words = _WholeWords(lowercase=lowercase and not is_segmented)
        self._encoder = TextEncoder(segmenters, self._words, is_segmented=is_segmented)
        self._literal_ids = dict.fromkeys(ALL_SPECIAL_TOKENS, _NOT_COUNTED)
        if segmenters.compat == "default":
            self._literal_ids.clear()

    def count(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        on_text: Callable[[], None] | None = None,
    ) -> dict[str | None, Counter[str]]:
        """Count the words of texts by language.

        Args:
            texts: strings; or lists of words, where each word is segmented alone.
            langs: their languages, see `Segmenters.segment`.
            on_text: called after each text.

        Raises:
            TokenizerError: a language's segmenter is not installed or has no model.
        """
        tokens = self._encoder.encode(texts, langs, self._literal_ids, with_offsets=False, on_text=on_text)
        names = list(dict.fromkeys(langs))
        lang_ids = {lang: i for i, lang in enumerate(names)}
        lang_T = np.repeat([lang_ids[lang] for lang in langs], np.diff(tokens.cu_sizes))
        words = self._words.texts
        found: dict[str | None, Counter[str]] = {}
        for lang, i in lang_ids.items():
            ids = tokens.ids[lang_T == i]
            numbers, num_occurrences = np.unique(ids[ids != _NOT_COUNTED], return_counts=True)
            found[lang] = Counter(
                dict(zip(map(words.__getitem__, numbers.tolist()), num_occurrences.tolist(), strict=True))
            )
        if len(words) > _MAX_REMEMBERED_WORDS:
            self._encoder.clear_memory()
            self._words.clear()
        return found


class _WholeWords(WordEncoder):
    """Encodes each word as one token: its number.

    Attributes:
        texts: the words by their numbers.
    """

    def __init__(self, *, lowercase: bool):
        super().__init__({}, _NOT_COUNTED, {}, lowercase)
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self.texts: list[str] = []

    def encode(self, words: Sequence[Word | Literal]) -> Pieces:
        pieces = Pieces.from_lists([self._encode_whole(word) for word in words])
        self.texts += islice(self._numbers, len(self.texts), None)
        return pieces

    def clear(self) -> None:
        """Forget all words."""
        self._numbers.clear()
        self._numbers.default_factory = count().__next__
        self.texts = []

    def _encode_whole(self, word: Word | Literal) -> Sequence[tuple[int, int, int]]:
        if isinstance(word, Literal):
            return [(word.token_id, 0, 0)]
        text = word if isinstance(word, str) else word.text
        return [(self._numbers[part], 0, 0) for part in self.parts(text)]
