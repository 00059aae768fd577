"""Words of the chunks between the spaces of a text, by Moses' rules.

Nearly all of Moses' rules look at one chunk only. The others see the start and the end of the text, whether the next
word begins with a lower-case letter or a digit, or apostrophes on both sides of a space. Rules that delete a space next
to a bracket, colon, semicolon or percent sign have no effect, because a later rule separates these characters again.

The rules treat letters alike, and digits. A chunk is therefore not segmented itself if another one of its shape was:
the words of `don't` follow from those of `can't`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, cast

from xlm_core.text.moses import NEUTRAL, load_moses
from xlm_core.text.normalize import PUNCT_TABLE, ROMANIAN
from xlm_core.text.words import MovedWord, locate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xlm_core.text.words import SegmentedText, Word

# What follows a chunk: the kind of the first character of the next word, or the end of the text.
OTHER, LOWER, DIGIT, END = range(4)
_NEXT_WORDS = (" X", " x", " 1", "")

APOSTROPHES = frozenset("'`´‘‚’")
DOTS = frozenset(".…")


_SENSITIVE_STARTS = APOSTROPHES | DOTS | frozenset(",，、")
_SENSITIVE_ENDS = APOSTROPHES | DOTS
_FULL_STOPS = frozenset("。．")  # the rules delete white space after them
_DIGITS = frozenset("0123456789")


_BYTES_PER_LANG, _BYTES_PER_SHAPE = 10_000, 1_000

_NOT_LEARNED: list[_ShapedWord] = []


class _ShapedWord(NamedTuple):
    """A word of a shape: its atoms `[first, stop)`.

    Attributes:
        parts: None if the word is that part of the text. Else, for each of its atoms, None, or the character that
            replaces it, and the range of atoms in its place.
    """

    first: int
    stop: int
    parts: tuple[tuple[str | None, int, int], ...] | None = None


class ChunkRules:
    """Moses' rules of a language, for chunks.

    Args:
        lang: the language; None for language-neutral rules.
        segment: applies the rules to a text.
    """

    def __init__(self, lang: str | None, segment: Callable[[str, str | None], SegmentedText]):
        self._lang, self._segment = lang, segment
        moses = load_moses(lang or NEUTRAL)
        self._is_plain, self._atoms = _patterns(moses.letters)
        self._letters, self._lower = moses.letters, moses.LOWER
        self._replaced = PUNCT_TABLE | (ROMANIAN if lang == "ro" else {})
        prefixes = "\n".join([*moses.NONBREAKING_PREFIXES, *moses.NUMERIC_ONLY_PREFIXES])
        self._atoms_of_prefixes = frozenset(filter(self._is_plain, self._atoms(prefixes)))
        # Letters that stand for others in a shape; abbreviations are no shapes.
        self._some_lower = min(moses.letters & moses.LOWER - self._atoms_of_prefixes - {"s"})
        self._some_other = min(moses.letters - moses.LOWER - self._atoms_of_prefixes)
        self._shapes: dict[tuple[str, bool, int], list[_ShapedWord] | None] = {}

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory that shapes take."""
        return _BYTES_PER_LANG + _BYTES_PER_SHAPE * len(self._shapes)

    def split(self, chunk: str, *, is_first: bool = False, following: int = OTHER) -> list[tuple[Word, int]] | None:
        """Return the words of a chunk, each with its first character, or None if they depend on more than its context.

        Args:
            chunk: a part of a text between two spaces; white space at its ends is refused with None.
            is_first: whether the text begins with the chunk.
            following: what follows it.
        """
        text = chunk
        if not chunk.isascii():
            if chunk[0].isspace() or chunk[-1].isspace() or chunk[-1] in _FULL_STOPS:
                return None
            if not unicodedata.is_normalized("NFC", chunk):
                return self._split_in_context(chunk, is_first, following)
            text = chunk.translate(self._replaced)
        if self._is_plain(text) and "MULTI" not in text:
            return [(text, 0)]
        atoms = self._atoms(text)
        has_abbreviation = "." in text and not self._atoms_of_prefixes.isdisjoint(atoms)
        if has_abbreviation or "MULTI" in text or not (text.isascii() or _FULL_STOPS.isdisjoint(text)):
            return self._split_in_context(chunk, is_first, following)
        shape = list(map(self._shape, atoms))
        key = "".join(shape), is_first, following
        words = self._shapes.get(key, _NOT_LEARNED)
        if words is _NOT_LEARNED:
            words = self._shapes[key] = self._learn(shape, is_first, following)
        if words is None:
            return self._split_in_context(chunk, is_first, following)
        bounds = list(accumulate(map(len, atoms), initial=0))
        return [
            (text[bounds[word.first] : bounds[word.stop]], bounds[word.first])
            if word.parts is None
            else _fill(word.parts, text, bounds)
            for word in words
        ]

    def depends_on_context(self, chunk: str) -> bool:
        """Return whether the words of a chunk may depend on what precedes or follows it."""
        first, last = chunk[0], chunk[-1]
        if first in _SENSITIVE_STARTS or not first.isprintable():
            return True
        if last in self._letters:
            return False
        if last == "," or last == "，":
            return chunk.count(",") + chunk.count("，") > 1
        return last in _SENSITIVE_ENDS or not last.isprintable() or not (last.isalnum() or DOTS.isdisjoint(chunk))

    def kind(self, chunk: str) -> int | None:
        """Return the kind of the first character of a chunk's first word; None if the chunk cannot be split alone."""
        char = chunk[0]
        if char not in self._letters and char not in _DIGITS:
            words = self.split(chunk)
            if words is None:
                return None
            char = words[0][0][0][0] if isinstance(words[0][0], MovedWord) else words[0][0][0]
        return LOWER if char in self._lower else DIGIT if char in _DIGITS else OTHER

    def has_odd_start(self, chunk: str) -> bool:
        """Return whether a rule may look at the start of a chunk together with an odd end of the chunk before it."""
        return chunk[0] in APOSTROPHES or not chunk[0].isprintable()

    def has_odd_end(self, chunk: str) -> bool:
        """Return whether a rule may look at the end of a chunk, and at an odd start or further space after it."""
        last = chunk[-1]
        is_quote = not last.isalnum() and last not in DOTS and not DOTS.isdisjoint(chunk)
        return is_quote or last in APOSTROPHES or not last.isprintable()

    def _shape(self, atom: str) -> str:
        """Return the representative of an atom: whether it is one or more letters, and the kind of the first one."""
        first = atom[0]
        if first in _DIGITS:
            return "0" if len(atom) == 1 else "00"
        if first not in self._letters:
            return atom
        kind = first if first == "s" else self._some_lower if first in self._lower else self._some_other
        return kind if len(atom) == 1 else kind + self._some_lower

    def _learn(self, shape: Sequence[str], is_first: bool, following: int) -> list[_ShapedWord] | None:
        """Segment a shape, and express its words by its atoms; None if that is not possible."""
        text = "".join(shape)
        words = self._split_in_context(text, is_first, following) if unicodedata.is_normalized("NFC", text) else None
        if words is None:
            return None
        atom_at = {position: k for k, position in enumerate(accumulate(map(len, shape), initial=0))}
        learned = [_learn_word(word, start, text, shape, atom_at) for word, start in words]
        return None if None in learned else cast("list[_ShapedWord]", learned)

    def _split_in_context(self, chunk: str, is_first: bool, following: int) -> list[tuple[Word, int]] | None:
        """Segment a chunk between two words, which stand for its context."""
        before, after = "" if is_first else "x ", _NEXT_WORDS[following]
        segmented = self._segment(before + chunk + after, self._lang)
        words = list(locate_words(segmented))
        if "".join(segmented.words) != "".join(segmented.aligned.text.split()):
            return None  # the segmenter changed a character
        if before and words.pop(0) != ("x", 0):
            return None
        if after and words.pop() != (after[1:], len(before) + len(chunk) + 1):
            return None
        return [(word, start - len(before)) for word, start in words] or None


@lru_cache(maxsize=8)
def _patterns(letters: frozenset[str]) -> tuple[Callable[[str], object], Callable[[str], list[str]]]:
    """Return a test of whether a text is one run of letters or digits, and a function that splits it at such runs."""
    runs = f"[{''.join(sorted(letters))}]+|[0-9]+"
    return re.compile(runs).fullmatch, re.compile(f"{runs}|.", re.DOTALL).findall


def _learn_word(
    word: Word, start: int, text: str, shape: Sequence[str], atom_at: Mapping[int, int]
) -> _ShapedWord | None:
    """Express a word of a shape by atoms: as a range of them if it is that part of the shape, else char by char."""
    if isinstance(word, str):
        stop = start + len(word)
        if word == text[start:stop] and start in atom_at and stop in atom_at:
            return _ShapedWord(atom_at[start], atom_at[stop])
        word = MovedWord(word, tuple(range(len(word))), tuple(range(1, len(word) + 1)), 0)
    if word.before:
        return None
    parts: list[tuple[str | None, int, int]] = []
    i = 0
    while i < len(word.text):
        begin, stop = start + word.starts[i], atom_at.get(start + word.ends[i])
        first = atom_at.get(begin)
        if first is None:
            return None
        places = range(begin - start, begin - start + len(shape[first]))
        here = slice(i, i + len(places))
        if (word.text[here], word.starts[here]) == (shape[first], tuple(places)) and word.ends[here] == tuple(
            place + 1 for place in places
        ):
            parts.append((None, first, first + 1))
            i += len(places)
        elif stop is not None:
            parts.append((word.text[i], first, stop))
            i += 1
        else:
            return None
    return _ShapedWord(parts[0][1], parts[-1][2], tuple(parts))


def _fill(parts: Sequence[tuple[str | None, int, int]], text: str, bounds: Sequence[int]) -> tuple[Word, int]:
    """Build a word from the atoms of a chunk; `bounds` are those of the atoms in its text."""
    chars: list[str] = []
    spans: list[tuple[int, int]] = []
    origin = bounds[parts[0][1]]
    for char, first, stop in parts:
        begin, end = bounds[first] - origin, bounds[stop] - origin
        chars.append(text[bounds[first] : bounds[stop]] if char is None else char)
        spans += [(i, i + 1) for i in range(begin, end)] if char is None else [(begin, end)]
    word = "".join(chars)
    if all(span == (i, i + 1) for i, span in enumerate(spans)):
        return word, origin
    starts, ends = zip(*spans, strict=True)
    return MovedWord(word, starts, ends, 0), origin
