"""The words of texts, with their characters in the original text, in the form in which words are encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from xlm_core.text.aligned import AlignedText


class SegmentedText(NamedTuple):
    """The normalized text, its words in order, and the offset of each word in it."""

    aligned: AlignedText
    words: list[str]
    word_offsets: list[int]


class MovedWord(NamedTuple):
    """A word whose characters are not those of the original text, one for one.

    Attributes:
        text: the normalized word.
        starts, ends: the span of each character, relative to the first one's start.
        before: the end of the character before the word, relative to the word's start, or 0 if that is larger.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    before: int

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Map the characters `[start, end)` of the word, as `AlignedText.span` does."""
        if start < end:
            return self.starts[start], self.ends[end - 1]
        point = self.starts[start]
        return point, max(point, self.ends[start - 1] if start else self.before)


# A word that is a string has the characters of the original text, one for one, though some may be replaced.
Word = str | MovedWord


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


def locate_words(segmented: SegmentedText) -> Iterator[tuple[Word, int]]:
    """Yield each word with the offset of its first character in the original text."""
    aligned, words, offsets = segmented
    if not aligned.has_moved:
        yield from zip(words, offsets, strict=True)
        return
    for word, offset in zip(words, offsets, strict=True):
        spans = [aligned.span(i, i + 1) for i in range(offset, offset + len(word))]
        start = spans[0][0]
        # Only words with spaces have subwords without characters, the only ones at which this matters.
        before = max(aligned.span(offset - 1, offset)[1] - start, 0) if offset and " " in word else 0
        if before == 0 and all(span == (start + i, start + i + 1) for i, span in enumerate(spans)):
            yield word, start
        else:
            yield MovedWord(word, tuple(s - start for s, _ in spans), tuple(e - start for _, e in spans), before), start
