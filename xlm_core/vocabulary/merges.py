"""Learn the merges of byte-pair encoding from words and their counts.

The algorithm is that of fastBPE's `learnbpe`, with which the released checkpoints were made (Sennrich et al. 2016,
algorithm 1): words are characters, the last of which carries the mark `</w>`, and the most frequent pair of adjacent
symbols is merged in all words, again and again. Here, each merge is a few operations of NumPy on all occurrences of its
pair.

Letters: W words, C characters of all words, O occurrences of a pair, K distinct pairs.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import NUM_CODES, to_codes
from xlm_core.tokenizer import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

_MIN_COUNT = 2  # a pair that occurs once shortens only one word
_NO_SYMBOL = -1  # at positions that were merged into the one before, and of characters that are never merged
_BITS = 32
_PARTS = 16  # of the first count of all pairs, so that it takes little more memory than the words


def learn_merges(
    word_counts: Mapping[str, int], num_merges: int, *, min_count: int = _MIN_COUNT, reserved: Collection[str] = ()
) -> dict[tuple[str, ...], int]:
    """Learn merges, most frequent pair first.

    Of several pairs with the same count, the one with the earlier first symbol is merged, then the one with the
    earlier second symbol. Symbols are in the order of their code points, a character before the same one with `</w>`,
    and then in the order in which they were learned. fastBPE has the same rule, but the order of its characters is
    that of a hash table.

    Two merges never have the same result, which fastBPE requires of a table, too.

    Args:
        word_counts: words, as they are split into subwords, and how often each occurs.
        num_merges: the maximum number of merges.
        min_count: pairs that occur less often are not merged; at least 2.
        reserved: symbols that no merge may have as its result, such as the names of special tokens.

    Returns:
        The rank of each pair, from 0.
    """
    learner = _Learner(word_counts, max(min_count, _MIN_COUNT))
    texts = learner.texts
    known = {*texts, *reserved}
    merges: dict[tuple[str, ...], int] = {}
    for left, right in learner.most_frequent():
        if len(merges) >= num_merges:
            break
        merged = texts[left] + texts[right]
        if merged not in known:
            known.add(merged)
            merges[texts[left], texts[right]] = len(merges)
            learner.merge(left, right)
    return merges


def _can_merge(char: str) -> bool:
    """Whether a character can be in `merges.txt`, in which white space separates symbols, as UTF-8 without a mark."""
    return not (char.isspace() or "\ud800" <= char <= "\udfff" or char == "\ufeff")


class _Pairs(NamedTuple):
    """Distinct pairs, and their occurrences laid end to end.

    Attributes:
        keys: int64 [K], ascending.
        counts: int64 [K].
        starts: int64 [K], the first occurrence of each pair.
        positions: int32 [O], ascending for each pair.
    """

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    positions: NDArray[np.int32]

    @classmethod
    def group(cls, keys_O: NDArray[np.int64], counts_O: NDArray[np.int64], positions_O: NDArray[np.int32]) -> _Pairs:
        """Group occurrences by their pair."""
        order = np.argsort(keys_O, kind="stable")
        keys_O = keys_O[order]
        starts = np.flatnonzero(np.diff(keys_O, prepend=-1))
        counts = np.add.reduceat(counts_O[order], starts) if len(starts) else counts_O
        return cls(keys_O[starts], counts, starts, positions_O[order])


class _Learner:
    """The words as symbols, the counts of their pairs, and where each pair occurs.

    A pair is complete when its later symbol is learned, since no two merges have the same result. From then on it only
    loses occurrences, so one that is too rare is forgotten at once.

    Attributes:
        texts: each symbol as text.
    """

    def __init__(self, word_counts: Mapping[str, int], min_count: int):
        self._min_count = min_count
        words = [word for word in word_counts if word]
        codes_C, lengths_W = to_codes(words)
        last_W = np.cumsum(lengths_W) - 1
        codes_C = codes_C * np.uint32(2)
        codes_C[last_W] += 1  # codes of characters with the mark are odd
        is_used = np.zeros(2 * NUM_CODES, np.bool_)
        is_used[codes_C] = True
        distinct = np.flatnonzero(is_used)
        self.texts = [chr(code >> 1) + END_OF_WORD * (code & 1) for code in distinct.tolist()]
        symbol_of = np.full(2 * NUM_CODES, _NO_SYMBOL, np.int32)
        symbol_of[distinct] = [i if _can_merge(text[0]) else _NO_SYMBOL for i, text in enumerate(self.texts)]
        # The symbols of all words, and the positions of their neighbours. The last position is that of no neighbour.
        end = len(codes_C)
        self._symbols = np.append(symbol_of[codes_C], np.int32(_NO_SYMBOL))
        self._before = np.arange(-1, end, dtype=np.int32)
        self._after = np.minimum(np.arange(1, end + 2, dtype=np.int32), np.int32(end))
        self._after[last_W] = end
        self._before[last_W + 1 - lengths_W] = end
        self._counts_C = np.repeat(np.array([word_counts[word] for word in words], np.int64), lengths_W)
        self._counts: dict[int, int] = {}
        self._positions: dict[int, NDArray[np.int32]] = {}
        self._queue: list[tuple[int, int]] = []
        for part in range(_PARTS):
            self._add(np.flatnonzero(self._symbols % _PARTS == part).astype(np.int32))

    def most_frequent(self) -> Iterator[tuple[int, int]]:
        """Yield the pair with the largest count, again and again; each pair once."""
        while self._queue:
            count, key = heappop(self._queue)
            if (left := self._counts.get(key, 0)) == -count:
                yield key >> _BITS, key & ((1 << _BITS) - 1)
                self._forget(key)
            elif left:  # lost occurrences after it was queued
                heappush(self._queue, (-left, key))

    def merge(self, left: int, right: int) -> None:
        """Merge a pair in all words, from left to right."""
        first = self._positions[left << _BITS | right]
        second = self._after[first]
        still = (self._symbols[first] == left) & (self._symbols[second] == right)
        first, second = first[still], second[still]
        if left == right:
            first = _without_overlaps(first, second)
            second = self._after[first]
        before, after = self._before[first], self._after[second]
        follows = np.zeros(len(first), np.bool_)  # another occurrence: the pair between them is counted once
        follows[1:] = before[1:] == second[:-1]
        self._subtract(np.concatenate([before[~follows], second]))
        self._symbols[first], self._symbols[second] = len(self.texts), _NO_SYMBOL
        self._after[first], self._before[after] = after, first
        self.texts.append(self.texts[left] + self.texts[right])
        is_new = self._symbols[after] == len(self.texts) - 1  # counted as the symbol before the next occurrence
        self._add(np.concatenate([self._before[first], first[~is_new]]))

    def _group(self, positions: NDArray[np.int32]) -> _Pairs:
        """Return the pairs that begin at positions, which may be that of no neighbour."""
        left, right = self._symbols[positions], self._symbols[self._after[positions]]
        is_pair = (left >= 0) & (right >= 0)
        positions = positions[is_pair]
        keys = left[is_pair].astype(np.int64) << _BITS | right[is_pair]
        return _Pairs.group(keys, self._counts_C[positions], positions)

    def _add(self, positions: NDArray[np.int32]) -> None:
        """Count new pairs, and remember where they are."""
        pairs = self._group(positions)
        stops = np.append(pairs.starts[1:], len(pairs.positions))
        enough = np.flatnonzero(pairs.counts >= self._min_count)
        columns = (column[enough].tolist() for column in (pairs.keys, pairs.counts, pairs.starts, stops))
        for key, count, start, stop in zip(*columns, strict=True):
            self._counts[key] = count
            self._positions[key] = pairs.positions[start:stop]
            heappush(self._queue, (-count, key))

    def _subtract(self, positions: NDArray[np.int32]) -> None:
        """Subtract pairs that are about to be changed."""
        pairs = self._group(positions)
        for key, count in zip(pairs.keys.tolist(), pairs.counts.tolist(), strict=True):
            if key in self._counts:
                self._counts[key] -= count
                if self._counts[key] < self._min_count:
                    self._forget(key)

    def _forget(self, key: int) -> None:
        self._counts.pop(key, None)
        self._positions.pop(key, None)


def _without_overlaps(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
    """Select every second one of consecutive occurrences, from the left: in `aaa`, the pair `a a` is merged once."""
    index = np.arange(len(first))
    begins_run = np.append(True, second[:-1] != first[1:])[: len(first)]
    run_start = np.maximum.accumulate(np.where(begins_run, index, 0))
    return first[(index - run_start) % 2 == 0]
