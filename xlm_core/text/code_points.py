"""Texts as arrays of Unicode code points, in which rules of single characters are tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NUM_CODES = 0x110000


def to_codes(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of all texts, laid end to end, and the length of each text."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, np.fromiter(map(len, texts), np.int64, len(texts))


def to_text(codes: NDArray[np.uint32]) -> str:
    """Return the text that consists of code points."""
    return codes.tobytes().decode("utf-32-le", "surrogatepass")
