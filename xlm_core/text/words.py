"""The words of texts, with their characters in the original text, in the form in which words are encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Located(NamedTuple):
    """Words, and the first character of each in the original text."""

    words: Sequence[Word]
    starts: Sequence[int]


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


def locate_words(segmented: SegmentedText) -> Located:
    """Find the characters of words in the original text."""
    aligned, words, offsets = segmented
    return locate_by_chars(words, offsets, *aligned.spans()) if aligned.has_moved else Located(words, offsets)


def locate_by_chars(
    words: Sequence[str], offsets: Sequence[int], starts: Sequence[int], ends: Sequence[int]
) -> Located:
    """Find the characters of words in the original text.

    Args:
        words: the words of a normalized text.
        offsets: the first character of each word in it.
        starts, ends: the span in the original text of each character.
    """
    located: list[Word] = []
    first_chars: list[int] = []
    places = list(range(ends[-1] + 1 if ends else 0))
    for word, offset in zip(words, offsets, strict=True):
        stop = offset + len(word)
        start = starts[offset]
        # Only words with spaces have subwords without characters, the only ones at which this matters.
        before = max(ends[offset - 1] - start, 0) if offset and " " in word else 0
        end = start + len(word)
        if (
            before == 0
            and starts[offset:stop] == places[start:end]
            and ends[offset:stop] == places[start + 1 : end + 1]
        ):
            located.append(word)
        else:
            word_starts, word_ends = (tuple(c - start for c in chars[offset:stop]) for chars in (starts, ends))
            located.append(MovedWord(word, word_starts, word_ends, before))
        first_chars.append(start)
    return Located(located, first_chars)
