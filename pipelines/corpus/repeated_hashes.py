"""The hashes that occur more than once in a corpus: the only rows whose ids must be compared themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PART_HASHES = 2**23  # that are sorted at once


class RepeatedHashes:
    """The hashes that occur more than once, found once and then searched for each shard.

    Args:
        hashes: arrays of 64-bit hashes. They are copied and sorted in parts, by their last bits.

    Attributes:
        num_repeats: number of hashes that occurred before.
    """

    def __init__(self, hashes: Sequence[NDArray[Any]]):
        num_parts = 1 << (sum(map(len, hashes)) // _PART_HASHES).bit_length()
        found: list[NDArray[Any]] = []
        self.num_repeats = 0
        for part in range(num_parts if hashes else 0):
            chosen = [array if num_parts == 1 else array[array & num_parts - 1 == part] for array in hashes]
            in_order = np.sort(np.concatenate(chosen))
            repeats = in_order[1:][in_order[1:] == in_order[:-1]]
            self.num_repeats += len(repeats)
            found.append(np.unique(repeats))
        self._hashes = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)

    def find_in(self, hashes: NDArray[Any]) -> NDArray[np.int64]:
        """Return the positions in an array whose hashes occur more than once."""
        if not self.num_repeats:
            return np.empty(0, np.int64)
        # np.isin would sort the repeated hashes again for each array.
        found = np.searchsorted(self._hashes, hashes)
        return np.flatnonzero(self._hashes[np.minimum(found, len(self._hashes) - 1)] == hashes)
