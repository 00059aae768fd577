"""Combining marks: the spans of tokens do not separate a character from the marks that follow it.

Letters: T tokens, K tokens of one text of each row.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def attach_marks(
    offsets: NDArray[np.int32], tokens: NDArray[np.int64], row_of_token: NDArray[np.int32], texts: Sequence[str]
) -> NDArray[np.int32]:
    """Assign each combining mark to the token of the character that it follows.

    Segmenters cut words at marks that have no composed character, as in Yoruba `ẹ̀` or in emoji with a variation
    selector, and subwords can begin with a vowel sign. A token of such marks only gets an empty span. A mark at the
    beginning of a text, or after a character of category Z or C, stays as it is.

    Args:
        offsets: int32 [T, 2], never decreasing within a text.
        tokens: int64 [K], the tokens of the texts; those of other texts stay as they are.
        row_of_token: int32 [K].
        texts: N strings, the text of each row.

    Returns:
        int32 [T, 2].
    """
    if all(text.isascii() for text in texts):
        return offsets
    category = _major_categories()[code_points(texts)]
    text_start = np.cumsum([0, *map(len, texts)])
    takes_no_mark = np.concatenate([[True], np.isin(category, list("CZ"))])  # of the character before each position
    takes_no_mark[text_start] = True
    is_boundary = np.append(category != "M", True) | takes_no_mark
    position = np.arange(len(is_boundary))
    next_boundary = np.minimum.accumulate(np.where(is_boundary, position, position[-1])[::-1])[::-1]
    first = text_start[row_of_token][:, None]
    attached = offsets.copy()
    attached[tokens] = next_boundary[first + offsets[tokens]] - first
    return attached


def code_points(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the code points of all texts, one after another."""
    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)


@cache
def _major_categories() -> NDArray[np.str_]:
    """Return the major category of each code point, such as M for marks, Z for separators and C for controls."""
    return np.array([unicodedata.category(chr(code))[0] for code in range(0x110000)])
