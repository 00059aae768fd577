"""Byte-pair encoding of many words at once, in NumPy.

The result is that of `bpe.split_word` for each word. Every round merges, in each word, all occurrences of its pair with
the lowest rank. A word of a few letters takes 2 to 3 µs in a batch of thousands, and 10 to 20 µs in `split_word`.

Letters: W words, C characters of all words, S symbols that remain.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import NUM_CODES, cumulative_lengths, take_ragged
from xlm_core.tokenizer.bpe import END_OF_WORD, merge_symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_UNKNOWN = 0  # the symbol of all characters that occur neither in the merge table nor in the vocabulary
_NO_RANK = np.iinfo(np.int32).max
_NO_KEY = -1
_FEW_WORDS = 16  # are finished in Python, since a round takes NumPy at least 70 µs
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio (Knuth 1973)


class Pieces(NamedTuple):
    """The symbols of W words, laid end to end.

    Attributes:
        sizes: [W], number of symbols of each word.
        ids: int32 [S].
        starts, ends: int32 [S], characters of the symbol's word, end exclusive.
    """

    sizes: NDArray[np.int32]
    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    @classmethod
    def from_lists(cls, words: Iterable[Sequence[tuple[int, int, int]]]) -> Pieces:
        """Convert the symbols of words, each with its id, start and end."""
        words = list(words)
        symbols = np.array([symbol for word in words for symbol in word], np.int32).reshape(-1, 3)
        return cls(np.fromiter(map(len, words), np.int32, len(words)), *symbols.T)

    def take(self, index: NDArray[np.int64]) -> Pieces:
        """Take the words that `index` selects, in its order."""
        cu_sizes = cumulative_lengths(self.sizes)
        ids, starts, ends = (take_ragged(values, cu_sizes, index)[0] for values in self[1:])
        return Pieces(self.sizes[index], ids, starts, ends)


class BatchBPE:
    """The merge table as arrays.

    Args:
        ranks: pair of symbols to rank, see `bpe.split_word`.
        ids: symbol to id.
        unk_id: the id of symbols that are not in `ids`.
    """

    def __init__(self, ranks: Mapping[tuple[str, ...], int], ids: Mapping[str, int], unk_id: int):
        symbols: dict[str, int] = {"": _UNKNOWN}
        pairs = [(pair, rank) for pair, rank in ranks.items() if len(pair) == 2]
        left_P, right_P, result_P = (
            np.array([symbols.setdefault(text, len(symbols)) for text in texts], np.int64)
            for texts in (
                [left for (left, _), _ in pairs],
                [right for (_, right), _ in pairs],
                [left + right for (left, right), _ in pairs],
            )
        )
        inner = {text for text in ids if len(text) == 1}
        for text in inner | {text for text in ids if len(text) == 1 + len(END_OF_WORD) and text.endswith(END_OF_WORD)}:
            symbols.setdefault(text, len(symbols))
        self._pairs, self._symbols, self._texts = ranks, symbols, list(symbols)
        self._num_symbols = len(symbols)
        self._keys = _KeyTable(left_P * self._num_symbols + right_P)
        # The last entry is that of all other pairs.
        self._ranks = np.array([*(rank for _, rank in pairs), _NO_RANK], np.int32)
        self._results = np.append(result_P, _UNKNOWN).astype(np.int32)
        self._ids = np.array([unk_id, *(ids.get(text, unk_id) for text in self._texts[1:])], np.int32)
        # The symbol of each character, inside a word and at its end.
        self._inner, self._final = np.full((2, NUM_CODES), _UNKNOWN, np.int32)
        for text, symbol in symbols.items():
            if len(text) == 1:
                self._inner[ord(text)] = symbol
            elif len(text) == 1 + len(END_OF_WORD) and text.endswith(END_OF_WORD):
                self._final[ord(text[0])] = symbol

    def split(self, codes_C: NDArray[np.uint32], lengths_W: NDArray[np.int64]) -> Pieces:
        """Split non-empty words into symbols.

        Args:
            codes_C: the characters of all words.
            lengths_W: the number of characters of each word.
        """
        word_S = np.repeat(np.arange(len(lengths_W)), lengths_W)
        end_S = np.arange(1, len(codes_C) + 1)
        symbol_S = self._inner[codes_C]
        last_W = np.cumsum(lengths_W) - 1
        symbol_S[last_W] = self._final[codes_C[last_W]]
        entry_S = self._find_pairs(symbol_S, word_S)
        done: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]] = []
        while len(symbol_S):
            first_W = np.flatnonzero(np.diff(word_S, prepend=-1))
            if len(first_W) <= _FEW_WORDS:
                done.append(self._finish(word_S, end_S, symbol_S, first_W))
                break
            rank_S = self._ranks[entry_S]
            best_W = np.minimum.reduceat(rank_S, first_W)
            sizes_W = np.diff(first_W, append=len(symbol_S))
            best_S = np.repeat(best_W, sizes_W)
            is_done_S = best_S == _NO_RANK
            if is_done_S.any():
                done.append((word_S[is_done_S], end_S[is_done_S], symbol_S[is_done_S]))
                remains = ~is_done_S
                word_S, end_S, symbol_S = word_S[remains], end_S[remains], symbol_S[remains]
                entry_S, rank_S, best_S = entry_S[remains], rank_S[remains], best_S[remains]
            left = _without_overlaps(np.flatnonzero(rank_S == best_S))
            symbol_S[left] = self._results[entry_S[left]]
            end_S[left] = end_S[left + 1]
            remains = np.ones(len(symbol_S), np.bool_)
            remains[left + 1] = False
            left -= np.arange(len(left))  # its index after this round: each merge removes one symbol
            word_S, end_S, symbol_S, entry_S = word_S[remains], end_S[remains], symbol_S[remains], entry_S[remains]
            changed = np.concatenate([left, left[left > 0] - 1])
            entry_S[changed] = self._find_pairs(symbol_S, word_S, changed)
        return self._collect(done, lengths_W)

    def _find_pairs(
        self, symbol_S: NDArray[np.int32], word_S: NDArray[np.int64], at: NDArray[np.int64] | None = None
    ) -> NDArray[np.int32]:
        """Find the entries of pairs: of the symbols at the given indices, or of all, and the symbol after each."""
        at = np.arange(len(symbol_S)) if at is None else at
        after = np.minimum(at + 1, len(symbol_S) - 1)
        keys = symbol_S[at].astype(np.int64) * self._num_symbols + symbol_S[after]
        keys[(word_S[at] != word_S[after]) | (at == after)] = _NO_KEY
        return self._keys.find(keys)

    def _finish(
        self,
        word_S: NDArray[np.int64],
        end_S: NDArray[np.int64],
        symbol_S: NDArray[np.int32],
        first_W: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Merge what is left to merge, word by word; the first symbol of each word is given."""
        texts = [self._texts[symbol] for symbol in symbol_S.tolist()]
        merged: list[str] = []
        remains: list[bool] = []
        for first, stop in pairwise([*first_W.tolist(), len(texts)]):
            symbols = texts[first:stop]
            remains += merge_symbols(symbols, self._pairs)
            merged += symbols
        kept = np.flatnonzero(remains)
        symbols = np.array([self._symbols[merged[k]] for k in kept.tolist()], np.int32)
        return word_S[kept], end_S[np.append(kept[1:], len(texts)) - 1], symbols

    def _collect(
        self,
        done: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]],
        lengths_W: NDArray[np.int64],
    ) -> Pieces:
        """Put the symbols of words that were finished in different rounds in order."""
        if not done:
            return Pieces.from_lists([])
        word_S, end_S, symbol_S = (np.concatenate(parts) for parts in zip(*done, strict=True))
        order = np.argsort(end_S)
        word_S, end_S, symbol_S = word_S[order], end_S[order], symbol_S[order]
        begin_W = np.cumsum(lengths_W) - lengths_W
        start_S = np.concatenate([[0], end_S[:-1]])
        sizes = np.bincount(word_S, minlength=len(lengths_W))
        base_S = begin_W[word_S]
        return Pieces(
            *(part.astype(np.int32) for part in (sizes, self._ids[symbol_S], start_S - base_S, end_S - base_S))
        )


class _KeyTable:
    """A hash table with open addressing.

    Args:
        keys: int64, distinct and not negative.
    """

    def __init__(self, keys: NDArray[np.int64]):
        bits = (8 * len(keys)).bit_length()  # at most one of eight slots is used, so that few keys collide
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._keys = np.append(keys, _NO_KEY)
        self._entries = np.full(1 << bits, len(keys), np.int32)
        rest, slots = np.arange(len(keys)), self._slots(keys)
        while len(rest):
            is_free = self._entries[slots] == len(keys)
            self._entries[slots[is_free]] = rest[is_free]
            is_left = self._entries[slots] != rest
            rest, slots = rest[is_left], (slots[is_left] + 1) & self._mask

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the index of each key; the number of keys for one that is not in the table."""
        slots = self._slots(keys)
        entries = self._entries[slots]
        other = np.flatnonzero((self._keys[entries] != keys) & (entries < len(self._keys) - 1))
        while len(other):
            slots[other] = (slots[other] + 1) & self._mask
            entries[other] = self._entries[slots[other]]
            other = other[(self._keys[entries[other]] != keys[other]) & (entries[other] < len(self._keys) - 1)]
        return entries

    def _slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        return ((keys.view(np.uint64) * _HASH_FACTOR) >> self._shift).view(np.int64)


def _without_overlaps(hits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select every second one of consecutive hits, from the left: in `aaa`, the pair `a a` is merged once."""
    new_run = np.diff(hits, prepend=-2) != 1
    run_start = np.maximum.accumulate(np.where(new_run, hits, 0))
    return hits[(hits - run_start) % 2 == 0]
