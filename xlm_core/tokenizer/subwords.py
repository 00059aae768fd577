"""Encode one word: lower-case it, split it into subwords, and look up their ids and their offsets in the word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from xlm_core.text import lower_and_strip_accents
from xlm_core.tokenizer.bpe import END_OF_WORD, split_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Word frequencies follow a power law: this many words cover nearly all of a corpus and take about 200 MB. Strings
# longer than 64 characters are rarely words, and hardly ever repeat.
_MAX_CACHED_WORDS = 500_000
_MAX_CACHED_CHARS = 64


class Subwords(NamedTuple):
    """The ids of a word's subwords, and their offsets among the word's characters, end exclusive."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


class WordEncoder:
    """Encodes words, with a cache.

    Args:
        ids: subword to id.
        unk_id: the id of subwords that are not in `ids`.
        ranks: pair of symbols to rank, see `split_word`.
        lowercase: lower-case words and remove accents first.
    """

    def __init__(self, ids: Mapping[str, int], unk_id: int, ranks: Mapping[tuple[str, ...], int], lowercase: bool):
        self.lowercase = lowercase
        self._ids, self._unk_id, self._ranks = ids, unk_id, ranks
        self._cache: dict[str, Subwords] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}

    def __call__(self, word: str) -> Subwords:
        """Encode one word. The result is empty if lower-casing removes all characters (spaces, combining marks)."""
        subwords = self._cache.get(word)
        if subwords is None:
            spans = self.split(word)
            subwords = Subwords(
                tuple(self._ids.get(subword, self._unk_id) for subword, _, _ in spans),
                tuple(start for _, start, _ in spans),
                tuple(end for _, _, end in spans),
            )
            if len(word) <= _MAX_CACHED_CHARS:
                if len(self._cache) >= _MAX_CACHED_WORDS:
                    self._cache.clear()
                self._cache[word] = subwords
        return subwords

    def split(self, word: str) -> list[tuple[str, int, int]]:
        """Split a word into subwords, each with its start and end (exclusive) among the word's characters.

        Together the subwords cover the word. Combining marks that were removed belong to the character before them.
        """
        if not self.lowercase:
            return list(self._split_normalized(word))
        text, sources = lower_and_strip_accents(word)
        sources.append(len(word))
        found: list[tuple[str, int, int]] = []
        offset = 0
        for part in text.split(" "):  # as in the reference, which joins words by spaces here and splits them again
            for subword, begin, end in self._split_normalized(part) if part else ():
                first, last = offset + begin, offset + end
                start = sources[first] if first else 0
                found.append((subword, start, max(sources[last - 1] + 1, sources[last]) if last > first else start))
            offset += len(part) + 1
        return found

    def _split_normalized(self, word: str) -> Iterator[tuple[str, int, int]]:
        symbols = split_word(word, self._ranks)
        if " " in word:
            # The reference writes symbols separated by spaces and splits that text again. A space within a word, which
            # the Thai and Japanese segmenters can return, therefore becomes empty symbols.
            symbols = " ".join(symbols).split(" ")
        offset = 0
        for i, symbol in enumerate(symbols):
            surface = symbol.removesuffix(END_OF_WORD) if i == len(symbols) - 1 else symbol
            start = word.find(surface, offset)
            offset = start + len(surface)
            yield symbol, start, offset
