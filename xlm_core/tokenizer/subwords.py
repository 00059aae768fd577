"""One word to its pieces: lower-casing, byte-pair encoding, ids, and which of the word's characters each covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from xlm_core.text.normalize import lower_and_strip_accents
from xlm_core.tokenizer.bpe import END_OF_WORD, encode_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Words of a corpus follow a power law: this many cover nearly all of its text and take some 200 MB. Longer words than
# these are rarely words, and never the same twice.
_MAX_CACHED_WORDS = 500_000
_MAX_CACHED_CHARS = 64


class Pieces(NamedTuple):
    """A word's pieces, and where each begins and ends (exclusive) among the word's characters."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


class WordEncoder:
    """Encodes words, each distinct one once.

    Args:
        ids: piece to id; what is not in it is unknown.
        unk_id: the id of the unknown.
        ranks: pair of symbols to rank.
        lowercase: lower-case and remove accents first.
    """

    def __init__(self, ids: Mapping[str, int], unk_id: int, ranks: Mapping[tuple[str, ...], int], lowercase: bool):
        self.lowercase = lowercase
        self._ids, self._unk_id, self._ranks = ids, unk_id, ranks
        self._cache: dict[str, Pieces] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}

    def __call__(self, word: str) -> Pieces:
        """Encode one word; nothing is left of one of spaces or combining marks alone, where those go."""
        pieces = self._cache.get(word)
        if pieces is None:
            spans = self.spans(word)
            pieces = Pieces(
                tuple(self._ids.get(piece, self._unk_id) for piece, _, _ in spans),
                tuple(start for _, start, _ in spans),
                tuple(end for _, _, end in spans),
            )
            if len(word) <= _MAX_CACHED_CHARS:
                if len(self._cache) >= _MAX_CACHED_WORDS:
                    self._cache.clear()
                self._cache[word] = pieces
        return pieces

    def spans(self, word: str) -> list[tuple[str, int, int]]:
        """Give a word's pieces as text, each with the first and last (exclusive) of the word's characters it covers.

        Together they cover the word: marks that were stripped belong to the character before them.
        """
        if not self.lowercase:
            return list(self._split(word))
        text, sources = lower_and_strip_accents(word)
        sources.append(len(word))
        found: list[tuple[str, int, int]] = []
        place = 0
        for part in text.split(" "):  # the reference joins words by spaces here and parts them again
            for piece, begin, end in self._split(part) if part else ():
                first, last = place + begin, place + end
                start = sources[first] if first else 0
                found.append((piece, start, max(sources[last - 1] + 1, sources[last]) if last > first else start))
            place += len(part) + 1
        return found

    def _split(self, word: str) -> Iterator[tuple[str, int, int]]:
        symbols = encode_word(word, self._ranks)
        if " " in word:
            # The reference writes symbols apart by spaces and reads them back, so a space within a word (the Thai and
            # Japanese segmenters give some) falls apart into empty pieces.
            symbols = " ".join(symbols).split(" ")
        place = 0
        for i, symbol in enumerate(symbols):
            surface = symbol.removesuffix(END_OF_WORD) if i == len(symbols) - 1 else symbol
            start = word.find(surface, place)
            place = start + len(surface)
            yield symbol, start, place
