"""Encode words: lower-case them, split them into subwords, and look up their ids and their offsets in the word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import cumulative_lengths
from xlm_core.text import MovedWord, fold, lower_and_strip_accents
from xlm_core.tokenizer.batch_bpe import BatchBPE, Pieces
from xlm_core.tokenizer.bpe import END_OF_WORD, split_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xlm_core.text import Word

_MIN_BATCH_WORDS = 48  # a batch of any size takes NumPy about 0.5 ms
_MAX_BATCH_CHARS = 64  # NumPy takes quadratic time in the length of a word, `split_word` n log n


class Literal(NamedTuple):
    """A string that becomes one token anywhere in a text."""

    text: str
    token_id: int


class WordEncoder:
    """Encodes words.

    Args:
        ids: subword to id.
        unk_id: the id of subwords that are not in `ids`.
        ranks: pair of symbols to rank, see `split_word`.
        lowercase: lower-case words and remove accents first.
    """

    def __init__(self, ids: Mapping[str, int], unk_id: int, ranks: Mapping[tuple[str, ...], int], lowercase: bool):
        self.lowercase = lowercase
        self._ids, self._unk_id, self._ranks = ids, unk_id, ranks
        self._bpe: BatchBPE | None = None

    def encode(self, words: Sequence[Word | Literal]) -> Pieces:
        """Encode words. A word has no subwords if lower-casing removes all its characters (spaces, combining marks)."""
        texts = [word if isinstance(word, str) else word.text for word in words]
        folded = list(map(fold, texts)) if self.lowercase else [(text, None) for text in texts]
        batch = [
            i
            for i, (text, _) in enumerate(folded)
            if 0 < len(text) <= _MAX_BATCH_CHARS and " " not in text and not isinstance(words[i], Literal)
        ]
        if len(batch) < _MIN_BATCH_WORDS:
            batch = []
        pieces = self._split_batch([folded[i][0] for i in batch])
        begins = cumulative_lengths(pieces.sizes)
        for k, i in enumerate(batch):
            word, sources = words[i], folded[i][1]
            if sources is not None or isinstance(word, MovedWord):
                for t in range(begins[k], begins[k + 1]):
                    start, end = int(pieces.starts[t]), int(pieces.ends[t])
                    if sources is not None:
                        start, end = _source_span([*sources, len(texts[i])], start, end)
                    pieces.starts[t], pieces.ends[t] = (
                        word.span(start, end) if isinstance(word, MovedWord) else (start, end)
                    )
        rest = sorted(set(range(len(words))).difference(batch))
        if rest:
            others = Pieces.from_lists(self._encode_one(words[i]) for i in rest)
            pieces = Pieces(*map(np.concatenate, zip(pieces, others, strict=True))).take(np.argsort([*batch, *rest]))
        return pieces

    def _split_batch(self, words: Sequence[str]) -> Pieces:
        if not words:
            return Pieces.from_lists([])
        if self._bpe is None:
            self._bpe = BatchBPE(self._ranks, self._ids, self._unk_id)
        return self._bpe.split(words)

    def _encode_one(self, word: Word | Literal) -> list[tuple[int, int, int]]:
        if isinstance(word, Literal):
            return [(word.token_id, 0, len(word.text))]
        text, span = (word, None) if isinstance(word, str) else (word.text, word.span)
        return [
            (self._ids.get(subword, self._unk_id), *((start, end) if span is None else span(start, end)))
            for subword, start, end in self.split(text)
        ]

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
                found.append((subword, *_source_span(sources, offset + begin, offset + end)))
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


def _source_span(sources: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """Map characters `[first, last)` of a folded word to those of its source; `sources` ends with the word's length."""
    start = sources[first] if first else 0
    return start, max(sources[last - 1] + 1, sources[last]) if last > first else start
