"""Encode words: lower-case them, split them into subwords, and look up their ids and their offsets in the word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import concatenated_ranges, cumulative_lengths, to_codes
from xlm_core.text import MovedWord, fold_table, lower_and_strip_accents
from xlm_core.tokenizer.batch_bpe import BatchBPE, Pieces
from xlm_core.tokenizer.bpe import END_OF_WORD, split_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

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
        if len(words) < _MIN_BATCH_WORDS:
            return Pieces.from_lists(map(self._encode_one, words))
        pieces, batch = self._encode_batch(words)
        if len(batch) < len(words):
            rest = sorted(set(range(len(words))).difference(batch.tolist()))
            others = Pieces.from_lists(self._encode_one(words[i]) for i in rest)
            pieces = Pieces(*map(np.concatenate, zip(pieces, others, strict=True)))
            pieces = pieces.take(np.argsort(np.concatenate([batch, rest])))
        return pieces

    def _encode_batch(self, words: Sequence[Word | Literal]) -> tuple[Pieces, NDArray[np.int64]]:
        """Encode all words but unusual ones, and return the indices of the words that were encoded, too."""
        codes_C, lengths_W = to_codes([word if isinstance(word, str) else word.text for word in words])
        codes_F, sizes_C, is_unusual_C = codes_C, np.ones(len(codes_C), np.int64), codes_C == ord(" ")
        if self.lowercase:
            codes_F, sizes_C, is_irregular_C = fold_table().fold(codes_C)
            is_unusual_C |= is_irregular_C
        folded_lengths_W = np.diff(cumulative_lengths(sizes_C)[cumulative_lengths(lengths_W)]).astype(np.int64)
        in_batch_W = (folded_lengths_W > 0) & (folded_lengths_W <= _MAX_BATCH_CHARS)
        in_batch_W[np.repeat(np.arange(len(words)), lengths_W)[is_unusual_C]] = False
        moved = {i: word for i, word in enumerate(words) if not isinstance(word, str)}
        in_batch_W[[i for i, word in moved.items() if isinstance(word, Literal)]] = False

        in_batch_F = np.repeat(in_batch_W, folded_lengths_W)
        if self._bpe is None:
            self._bpe = BatchBPE(self._ranks, self._ids, self._unk_id)
        lengths = folded_lengths_W[in_batch_W]
        pieces = self._bpe.split(codes_F[in_batch_F], lengths)
        if (sizes_C != 1).any():
            sources = np.repeat(concatenated_ranges(lengths_W), sizes_C)[in_batch_F]
            pieces = _to_source_chars(pieces, sources, lengths, lengths_W[in_batch_W])
        batch = np.flatnonzero(in_batch_W)
        if moved:
            begins = cumulative_lengths(pieces.sizes)
            for k, i in enumerate(batch.tolist()):
                if isinstance(word := moved.get(i), MovedWord):
                    for t in range(begins[k], begins[k + 1]):
                        pieces.starts[t], pieces.ends[t] = word.span(int(pieces.starts[t]), int(pieces.ends[t]))
        return pieces, batch

    def _encode_one(self, word: Word | Literal) -> list[tuple[int, int, int]]:
        if isinstance(word, Literal):
            return [(word.token_id, 0, len(word.text))]
        text, span = (word, None) if isinstance(word, str) else (word.text, word.span)
        return [
            (self._ids.get(subword, self._unk_id), *((start, end) if span is None else span(start, end)))
            for subword, start, end in self.split(text)
        ]

    def parts(self, word: str) -> list[str]:
        """Return what byte-pair encoding receives of a word: it, or its parts after lower-casing, which may be none."""
        if not self.lowercase:
            return [word]
        text, _ = lower_and_strip_accents(word)
        return [part for part in text.split(" ") if part]

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
        offset = 0
        for i, symbol in enumerate(symbols):
            surface = symbol.removesuffix(END_OF_WORD) if i == len(symbols) - 1 else symbol
            start = word.find(surface, offset)
            offset = start + len(surface)
            yield symbol, start, offset


def _to_source_chars(
    pieces: Pieces, sources_F: NDArray[np.int64], folded_lengths_W: NDArray[np.int64], lengths_W: NDArray[np.int64]
) -> Pieces:
    """Map the characters of folded words to those of their sources, as `_source_span` does for one word.

    Args:
        pieces: of the folded words.
        sources_F: the index in its source of each character of the folded words.
        folded_lengths_W, lengths_W: the number of characters of each word, folded and before.
    """
    word_T = np.repeat(np.arange(len(lengths_W)), pieces.sizes)
    begin_T = (np.cumsum(folded_lengths_W) - folded_lengths_W)[word_T]
    is_last_T = pieces.ends == folded_lengths_W[word_T]
    after_T = np.where(is_last_T, lengths_W[word_T], sources_F[begin_T + np.where(is_last_T, 0, pieces.ends)])
    starts_T = np.where(pieces.starts > 0, sources_F[begin_T + pieces.starts], 0)
    ends_T = np.maximum(sources_F[begin_T + pieces.ends - 1] + 1, after_T)
    return pieces._replace(starts=starts_T.astype(np.int32), ends=ends_T.astype(np.int32))


def _source_span(sources: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """Map characters `[first, last)` of a folded word to those of its source; `sources` ends with the word's length."""
    start = sources[first] if first else 0
    return start, max(sources[last - 1] + 1, sources[last]) if last > first else start
