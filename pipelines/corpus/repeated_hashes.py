"""The hashes that occur more than once in a corpus: the only rows whose ids must be compared themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class RepeatedHashes:
    """The hashes that occur more than once, sorted once and then searched for each shard.

    Uses up to 24 bytes per hash while it is built.

    Args:
        hashes: arrays of 64-bit hashes.

    Attributes:
        num_repeats: number of hashes that occurred before.
    """

    def __init__(self, hashes: Sequence[NDArray[Any]]):
        in_order = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, np.int64)
        repeats = in_order[1:][in_order[1:] == in_order[:-1]]
        self.num_repeats = len(repeats)
        self._hashes = np.unique(repeats)

    def find_in(self, hashes: NDArray[Any]) -> NDArray[np.int64]:
        """Return the positions in an array whose hashes occur more than once."""
        if not self.num_repeats:
            return np.empty(0, np.int64)
        # np.isin would sort the repeated hashes again for each array.
        found = np.searchsorted(self._hashes, hashes)
        return np.flatnonzero(self._hashes[np.minimum(found, len(self._hashes) - 1)] == hashes)
