"""Segment Chinese, Japanese and Thai texts whose characters keep their places, without tracking each character.

Most texts of these languages have nothing that the rules for punctuation move, delete or expand: they replace single
characters, and a full stop by one with a space.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate
from typing import TYPE_CHECKING

from xlm_core.text.normalize import PUNCT_TABLE
from xlm_core.text.words import MovedWord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xlm_core.text.words import Word

_REPLACED = PUNCT_TABLE | str.maketrans("„–«»。．", '"-""..')
_STOP_BEFORE_TEXT, _STOP_BEFORE_SPACE = re.compile("[。．](?=[^ ])"), re.compile("[。．] ")
_SPACES = re.compile("  +")
_MOVED = frozenset("…—'`´‘‚’")
_BRACKETS = frozenset("()（）")
_MOVED_SPACES = re.compile(r"  | [:;]|\d %")

# In Chinese, where every word is first separated by spaces, the rules delete some of them again.
_JOINED = frozenset("()（）:;：；∶%％")
_DELETED_SPACE = re.compile(r"(?<=\)) (?=[.!:?;,])|(?<=\() | (?=[):;])|(?<=\d) (?=%)")


def segment_in_place(text: str, lang: str, segment: Callable[[str], list[str]]) -> list[tuple[Word, int]] | None:
    """Return the words of a text, each with its first character; None if characters move.

    Args:
        text: any string.
        lang: "zh", "ja" or "th".
        segment: the segmenter of the language.
    """
    if (
        not text.strip()
        or not text.isprintable()
        or not _MOVED.isdisjoint(text)
        or not unicodedata.is_normalized("NFC", text)
    ):
        return None
    return _segment_chinese(text, segment) if lang == "zh" else _segment_other(text, segment)


def _segment_chinese(text: str, segment: Callable[[str], list[str]]) -> list[tuple[Word, int]] | None:
    words = segment(text)
    spaced = " ".join(words).translate(_REPLACED)
    places = None
    if " " in text:
        if _STOP_BEFORE_SPACE.search(text):
            return None
        spaced = _SPACES.sub(" ", spaced).strip(" ")
        places = [i for i, c in enumerate(text) if c != " "]
    if not _JOINED.isdisjoint(text):
        if any(len(word) > 1 and not _BRACKETS.isdisjoint(word) for word in words):
            return None
        spaced = _DELETED_SPACE.sub("", spaced)
    return _locate(spaced.split(" "), places)


def _segment_other(text: str, segment: Callable[[str], list[str]]) -> list[tuple[Word, int]] | None:
    if not _BRACKETS.isdisjoint(text) or text[:1] == " " or text[-1:] == " ":
        return None
    plain, places = text.translate(_REPLACED), None
    if _STOP_BEFORE_TEXT.search(text):
        plain = _STOP_BEFORE_TEXT.sub(r"\g<0> ", text).translate(_REPLACED)
        # The space that is inserted has the place of its full stop.
        stops = {match.start() for match in _STOP_BEFORE_TEXT.finditer(text)}
        places = [i for i in range(len(text)) for _ in range(1 + (i in stops))]
    if _MOVED_SPACES.search(plain):
        return None
    words = segment(plain)
    return _locate(words, places) if "".join(words) == plain else None


def _locate(words: Sequence[str], places: Sequence[int] | None) -> list[tuple[Word, int]] | None:
    """Return each word with its first character; None if the characters of a word are not adjacent.

    Args:
        words: words without gaps.
        places: the place of each of their characters in the text; None if no place is skipped or repeated.
    """
    if places is None:
        return list(zip(words, accumulate(map(len, words), initial=0), strict=False))
    located: list[tuple[Word, int]] = []
    stop = 0
    for word in words:
        begin, stop = stop, stop + len(word)
        if places[stop - 1] - places[begin] != len(word) - 1:
            return None
        if begin and places[begin - 1] == places[begin]:
            size = len(word)
            located.append((MovedWord(word, tuple(range(size)), tuple(range(1, size + 1)), 1), places[begin]))
        else:
            located.append((word, places[begin]))
    return located
