"""Words of the chunks between the spaces of a text, by Moses' rules.

Nearly all of Moses' rules look at one chunk only. The others see the start and the end of the text, whether the next
word begins with a lower-case letter or a digit, or apostrophes on both sides of a space. Rules that delete a space next
to a bracket, colon, semicolon or percent sign have no effect, because a later rule separates these characters again.

A chunk is not segmented itself if another one of its shape was: the words of `don't` follow from those of `can't`.

Letters: K chunks, W words of them.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from functools import lru_cache
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import concatenated_ranges
from xlm_core.text.moses import NEUTRAL, load_moses
from xlm_core.text.normalize import punctuation_rules
from xlm_core.text.shapes import LETTER_S, LOWER_LETTER, NUMBER, OTHER_LETTER, REPLACED, shape_table
from xlm_core.text.words import locate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from xlm_core.text.shapes import Cut
    from xlm_core.text.words import SegmentedText, Word

# What follows a chunk: the kind of the first character of the next word, or the end of the text.
OTHER, LOWER, DIGIT, END = range(4)
_NEXT_WORDS = (" X", " x", " 1", "")
NUM_CONTEXTS = 2 * (END + 1)

# Flags of chunks. A text is segmented as a whole if it has an unsafe chunk, or one with an odd end before one with an
# odd start. The words of an open chunk depend on its context.
UNSAFE, ODD_START, ODD_END, OPEN = 1, 2, 4, 8
_NOT_BY_SHAPE = 16  # Chunks of such shapes are segmented themselves.
_UNKNOWN_KIND = -1

_KINDS = {LOWER_LETTER: LOWER, LETTER_S: LOWER, OTHER_LETTER: OTHER, NUMBER: DIGIT}
_DIGITS = frozenset("0123456789")
_APOSTROPHES = frozenset("'`´‘‚’")
_DOTS = frozenset(".…")
_SENSITIVE_STARTS = _DOTS | {","}
_FULL_STOPS = frozenset("。．")  # the rules delete white space after them

_BYTES_PER_SHAPE = 500


class ChunkWords(NamedTuple):
    """The words of chunks.

    Attributes:
        words: [W].
        starts: int32 [W], the first character of each word in its chunk.
        firsts, sizes: [K], the words of each chunk: the first one and their number.
        flags: [K].
        kinds: [K], the kind of the first character of each chunk, for the context of the chunk before it.
    """

    words: list[Word]
    starts: NDArray[np.int32]
    firsts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    flags: NDArray[np.int32]
    kinds: NDArray[np.int32]


class Shapes:
    """The words of shapes, for languages whose rules differ only in abbreviations.

    Attributes:
        numbers: of each shape in each context.
        columns: for each shape: first word, number of words, flags, kind.
        words: for each word of a shape: its first atom, and the atom after it.
    """

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, int | None], int] = {}
        self.columns, self.words = array("i"), array("i")

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory that shapes take."""
        return _BYTES_PER_SHAPE * len(self.numbers)

    def add(self, shape: str, context: int | None, words: Sequence[tuple[int, int]], flags: int, kind: int) -> None:
        """Add a shape."""
        self.numbers[shape, context] = len(self.columns) // 4
        self.columns.extend((len(self.words) // 2, len(words), flags, kind))
        for word in words:
            self.words.extend(word)


class ChunkRules:
    """Moses' rules of a language, for chunks.

    Args:
        lang: the language; None for language-neutral rules.
        segment: applies the rules to a text.
        shapes: that were learned by the rules of other languages, by what these depend on; it is added to.
    """

    def __init__(
        self,
        lang: str | None,
        segment: Callable[[str, str | None], SegmentedText],
        shapes: dict[Hashable, Shapes],
    ):
        self._lang, self._segment = lang, segment
        moses = load_moses(lang or NEUTRAL)
        self._table = shape_table(moses.letters, moses.LOWER, is_romanian=lang == "ro")
        self._atoms = _atom_pattern(moses.letters)
        self._lower = moses.LOWER
        # The last atoms of abbreviations. In a shape, only `s` stands for itself, and may be an abbreviation.
        prefixes = moses.NONBREAKING_PREFIXES | moses.NUMERIC_ONLY_PREFIXES
        ends = {self._atoms(prefix)[-1] for prefix in prefixes if prefix}
        self._ends = {LETTER_S, *(end for end in ends if not moses.PAD_NOT_ISALNUM[0].search(end))}
        # Letters that stand for others in a shape, and are not the end of an abbreviation.
        lower, other = moses.letters & moses.LOWER - {LETTER_S}, moses.letters - moses.LOWER
        some_lower = min(char for char in lower if self._ends.isdisjoint([char, 2 * char, LETTER_S + char]))
        some_other = min(char for char in other if self._ends.isdisjoint([char, char + some_lower]))
        self._letters = str.maketrans({LOWER_LETTER: some_lower, OTHER_LETTER: some_other})
        self._shapes = shapes.setdefault((moses.rules, punctuation_rules(lang or NEUTRAL), lang == "ro"), Shapes())

    def split(self, chunks: Sequence[str], contexts: Sequence[int] | None = None) -> ChunkWords:
        """Split chunks into words.

        Args:
            chunks: parts of texts between two spaces, without line breaks.
            contexts: what is around each chunk: `following`, or `END + 1 + following` at the start of a text. If this
                is not known, open chunks have no words.
        """
        cut = self._table.cut(chunks)
        keys = list(zip(cut.shapes, repeat(None) if contexts is None else contexts, strict=False))
        for shape, context in set(keys).difference(self._shapes.numbers):
            self._learn(shape, context)
        number_K = np.fromiter(map(self._shapes.numbers.__getitem__, keys), np.int64, len(keys))
        first_K, size_K, flags_K, kind_K = np.frombuffer(self._shapes.columns, np.int32).reshape(-1, 4)[number_K].T
        alone = self._find_exceptions(chunks, cut, flags_K)
        size_K[alone] = 0
        num_W = size_K.astype(np.int64)
        index_W = np.repeat(first_K, num_W) + concatenated_ranges(num_W)
        atoms_W = np.frombuffer(self._shapes.words, np.int32).reshape(-1, 2)[index_W]
        begin_W, stop_W = cut.begins[atoms_W + np.repeat(cut.first_atoms, num_W)[:, None]].T
        words: list[Word] = [cut.text[i:j] for i, j in zip(begin_W.tolist(), stop_W.tolist(), strict=True)]
        starts = (begin_W - np.repeat(cut.begins[cut.first_atoms], num_W)).tolist()
        first_K = np.cumsum(size_K) - size_K
        for k in alone:
            is_open = contexts is None and flags_K[k] & OPEN
            if flags_K[k] & UNSAFE or (is_open and kind_K[k] != _UNKNOWN_KIND):
                continue
            found = self._split_in_context(chunks[k], contexts[k] if contexts else None)
            if found is None:
                flags_K[k] |= UNSAFE
                continue
            kind_K[k] = self._kind(found[0][0]) if kind_K[k] == _UNKNOWN_KIND else kind_K[k]
            if not is_open:
                first_K[k], size_K[k] = len(words), len(found)
                words += [word for word, _ in found]
                starts += [start for _, start in found]
        return ChunkWords(words, np.array(starts, np.int32), first_K, size_K, flags_K, kind_K)

    def _find_exceptions(self, chunks: Sequence[str], cut: Cut, flags_K: NDArray[np.int32]) -> list[int]:
        """Find chunks whose words do not follow from their shape."""
        found = np.flatnonzero(flags_K & _NOT_BY_SHAPE).tolist()
        begins, stops = cut.begins[np.maximum(cut.dots - 1, 0)].tolist(), cut.begins[cut.dots].tolist()
        is_end = [cut.text[i:j] in self._ends for i, j in zip(begins, stops, strict=True)]
        found += (np.searchsorted(cut.first_atoms, cut.dots[is_end], side="right") - 1).tolist()
        if "MULTI" in cut.text:
            found += [k for k, chunk in enumerate(chunks) if "MULTI" in chunk]
        if not unicodedata.is_normalized("NFC", "\n".join(chunks)):
            found += [k for k, chunk in enumerate(chunks) if not unicodedata.is_normalized("NFC", chunk)]
        return sorted(set(found))

    def _learn(self, shape: str, context: int | None) -> None:
        """Segment a shape, and express its words by its atoms."""
        text = shape.translate(self._letters)
        flags, kind = _flags(shape), _KINDS.get(shape[0], _UNKNOWN_KIND)
        is_open = context is None and flags & OPEN
        spans: list[tuple[int, int]] | None = []
        if not flags & UNSAFE and not (is_open and kind != _UNKNOWN_KIND):
            is_plain = _FULL_STOPS.isdisjoint(text) and unicodedata.is_normalized("NFC", text)
            found = self._split_in_context(text, context) if is_plain else None
            spans = self._express(found, text) if found else None
            if found and kind == _UNKNOWN_KIND:
                kind = self._kind(found[0][0])
        if spans is None:
            flags |= _NOT_BY_SHAPE
        self._shapes.add(shape, context, [] if spans is None or is_open else spans, flags, kind)

    def _express(self, words: Sequence[tuple[Word, int]], text: str) -> list[tuple[int, int]] | None:
        """Express words as ranges of the atoms of a text; None if one of them is not such a part of the text."""
        atom_at = {place: i for i, place in enumerate(accumulate(map(len, self._atoms(text)), initial=0))}
        replaced = text.translate(REPLACED)
        spans: list[tuple[int, int]] = []
        for word, start in words:
            if not isinstance(word, str) or word != replaced[start : start + len(word)]:
                return None
            if start not in atom_at or start + len(word) not in atom_at:
                return None
            spans.append((atom_at[start], atom_at[start + len(word)]))
        return spans

    def _kind(self, word: Word) -> int:
        first = (word if isinstance(word, str) else word.text)[0]
        return LOWER if first in self._lower else DIGIT if first in _DIGITS else OTHER

    def _split_in_context(self, chunk: str, context: int | None) -> list[tuple[Word, int]] | None:
        """Segment a chunk between two words, which stand for its context; None if its words depend on more."""
        is_first, following = divmod(context or 0, END + 1)
        before, after = "" if is_first else "x ", _NEXT_WORDS[following]
        segmented = self._segment(before + chunk + after, self._lang)
        words = list(zip(*locate_words(segmented), strict=True))
        if "".join(segmented.words) != "".join(segmented.aligned.text.split()):
            return None  # the segmenter changed a character
        if before and words.pop(0) != ("x", 0):
            return None
        if after and words.pop() != (after[1:], len(before) + len(chunk) + 1):
            return None
        return [(word, start - len(before)) for word, start in words] or None


def _flags(shape: str) -> int:
    """Return the flags of chunks of a shape."""
    first, last = shape[0], shape[-1]
    if first.isspace() or last.isspace() or last in _FULL_STOPS:
        return UNSAFE
    has_odd_start = first in _APOSTROPHES or not first.isprintable()
    is_after_dot = not last.isalnum() and last not in _DOTS and not _DOTS.isdisjoint(shape)
    has_odd_end = is_after_dot or last in _APOSTROPHES or not last.isprintable()
    is_open = shape.count(",") > 1 if last == "," else has_odd_end or last in _DOTS
    is_open = is_open or has_odd_start or first in _SENSITIVE_STARTS
    return ODD_START * has_odd_start | ODD_END * has_odd_end | OPEN * is_open


@lru_cache(maxsize=8)
def _atom_pattern(letters: frozenset[str]) -> Callable[[str], list[str]]:
    """Return a function that splits a text into atoms."""
    return re.compile(f"[{''.join(sorted(letters))}]+|[0-9]+|.", re.DOTALL).findall
