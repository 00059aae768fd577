"""The hashes that occur more than once in a corpus: the only rows whose ids must be compared themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PART_HASHES = 2**22  # 32 MB, which are sorted at once


class RepeatedHashes(NamedTuple):
    """The hashes that occur more than once.

    Attributes:
        num_repeats: number of hashes that occurred before.
        hashes: uint64, in order, each once.
    """

    num_repeats: int
    hashes: NDArray[np.uint64]

    @classmethod
    def find(cls, arrays: Sequence[NDArray[np.uint64]]) -> RepeatedHashes:
        """Find the repeated hashes of arrays of hashes, which are copied and sorted in parts."""
        num_parts = count_parts(sum(map(len, arrays)))
        found: list[RepeatedHashes] = []
        for part in range(num_parts):
            chosen = arrays if num_parts == 1 else [array[_part_of(array, num_parts) == part] for array in arrays]
            found.append(cls._find_at_once(chosen))
        return cls.join(found)

    @classmethod
    def _find_at_once(cls, arrays: Sequence[NDArray[np.uint64]]) -> RepeatedHashes:
        in_order = _sort(arrays)
        repeats = in_order[1:][in_order[1:] == in_order[:-1]]
        return cls(len(repeats), np.unique(repeats))

    @classmethod
    def join(cls, found: Sequence[RepeatedHashes]) -> RepeatedHashes:
        """Join the repeated hashes of all parts, given in order."""
        hashes = [np.empty(0, np.uint64), *(part.hashes for part in found)]
        return cls(sum(part.num_repeats for part in found), np.concatenate(hashes))

    def find_in(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the positions in an array whose hashes occur more than once."""
        if not len(self.hashes):
            return np.empty(0, np.int64)
        # np.isin would sort the repeated hashes again for each array.
        found = np.searchsorted(self.hashes, hashes)
        return np.flatnonzero(self.hashes[np.minimum(found, len(self.hashes) - 1)] == hashes)


def count_parts(num_hashes: int) -> int:
    """Return into how many parts hashes are divided, a power of two, so that each part fits in memory."""
    return 1 << (num_hashes // _PART_HASHES).bit_length()


def split_hashes(arrays: Sequence[NDArray[np.uint64]], num_parts: int) -> list[NDArray[np.uint64]]:
    """Divide hashes by their first bits. Hashes of earlier parts are smaller."""
    in_order = _sort(arrays)
    firsts = np.arange(1, num_parts, dtype=np.uint64) << _shift(num_parts)
    return np.split(in_order, np.searchsorted(in_order, firsts))


def _sort(arrays: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    in_order = np.concatenate([np.empty(0, np.uint64), *arrays])
    in_order.sort()
    return in_order


def _part_of(hashes: NDArray[np.uint64], num_parts: int) -> NDArray[np.uint64]:
    return hashes >> _shift(num_parts)


def _shift(num_parts: int) -> np.uint64:
    return np.uint64(65 - num_parts.bit_length())  # not used for a single part
