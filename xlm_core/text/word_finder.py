"""Find the words of many texts at once, as numbers in an array."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.text.words import locate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xlm_core.text.segment import SegmentedText
    from xlm_core.text.words import Word


class Words(NamedTuple):
    """The words of N texts, laid end to end.

    Attributes:
        numbers: int32 [W].
        starts: int32 [W], each word's first character in its text.
        sizes: int64 [N], number of words of each text.
    """

    numbers: NDArray[np.int32]
    starts: NDArray[np.int32]
    sizes: NDArray[np.int64]


class WordFinder:
    """Finds words.

    Args:
        segment: splits a text of a language into words.
        number: returns the number of a word.
    """

    def __init__(self, segment: Callable[[str, str | None], SegmentedText], number: Callable[[Word], int]):
        self._segment, self._number = segment, number
        self.size_bytes = 0

    def clear(self) -> None:
        """Forget all texts."""
        self.size_bytes = 0

    def find(
        self, texts: Sequence[str | int], langs: Sequence[str | None], on_text: Callable[[], None] | None = None
    ) -> Words:
        """Find the words of N texts.

        Args:
            texts: strings; or the number of a word, which is then the only word of its text.
            langs: their languages, see `Segmenters.segment`.
            on_text: called after each text.
        """
        numbers, starts, sizes = array("i"), array("i"), array("q")
        for text, lang in zip(texts, langs, strict=True):
            before = len(numbers)
            if isinstance(text, int):
                numbers.append(text)
                starts.append(0)
            else:
                for word, start in locate_words(self._segment(text, lang)):
                    numbers.append(self._number(word))
                    starts.append(start)
            sizes.append(len(numbers) - before)
            if on_text is not None:
                on_text()
        return Words(np.array(numbers, np.int32), np.array(starts, np.int32), np.array(sizes, np.int64))
