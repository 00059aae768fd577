"""Segment Chinese, Japanese and Thai texts whose characters keep their places, without tracking each character.

Most texts of these languages have nothing that the rules for punctuation move, delete or expand: they replace single
characters, and a full stop by one with a space.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from xlm_core.text.normalize import PUNCT_TABLE, normalize_printable
from xlm_core.text.words import Located, locate_by_chars

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_REPLACED = PUNCT_TABLE | str.maketrans("„–«»。．", '"-""..')
_STOP_BEFORE_TEXT = re.compile("[。．](?=[^ ])")
# In Chinese, where a space is inserted after each word, a full stop replaces the stop and all but the last space.
_STOP_BEFORE_SPACE = re.compile(r"[。．] +(?=[^ ]| \Z)")
_MOVED = frozenset("…—'`´‘‚’()（）")
_MOVED_SPACES = re.compile(r"  | [:;]|\d %")


def segment_in_place(text: str, lang: str, segment: Callable[[str], list[str]]) -> Located | None:
    """Segment a text; return None if characters move.

    Args:
        text: any string.
        lang: "zh", "ja" or "th".
        segment: the segmenter of the language.
    """
    if not text.isprintable() or not unicodedata.is_normalized("NFC", text):
        return None
    return _segment_chinese(text, segment) if lang == "zh" else _segment_other(text, segment)


def _segment_chinese(text: str, segment: Callable[[str], list[str]]) -> Located | None:
    """Separate words by spaces, and apply the rules, which then insert and delete only spaces in nearly all texts."""
    if "…" in text:  # the only character that the rules expand; quotation marks may be joined
        return None
    words = normalize_printable(" ".join(segment(text)), "zh").split()
    num_spaces = text.count(" ")
    if sum(map(len, words)) != len(text) - num_spaces:
        return None
    if not num_spaces:
        return Located(words, _offsets(words))
    starts = [i for i, c in enumerate(text) if c != " "]
    ends = [i + 1 for i in starts]
    for match in _STOP_BEFORE_SPACE.finditer(text):
        ends[bisect_left(starts, match.start())] = match.end()
    return locate_by_chars(words, _offsets(words), starts, ends)


def _segment_other(text: str, segment: Callable[[str], list[str]]) -> Located | None:
    if not _MOVED.isdisjoint(text) or not text or text[0] == " " or text[-1] == " ":
        return None
    plain, starts = text.translate(_REPLACED), None
    if _STOP_BEFORE_TEXT.search(text):
        plain = _STOP_BEFORE_TEXT.sub(r"\g<0> ", text).translate(_REPLACED)
        # The space that is inserted has the place of its full stop.
        stops = {match.start() for match in _STOP_BEFORE_TEXT.finditer(text)}
        starts = [i for i in range(len(text)) for _ in range(1 + (i in stops))]
    if _MOVED_SPACES.search(plain):
        return None
    words = segment(plain)
    if "".join(words) != plain:
        return None
    if starts is None:
        return Located(words, _offsets(words))
    return locate_by_chars(words, _offsets(words), starts, [i + 1 for i in starts])


def _offsets(words: Sequence[str]) -> list[int]:
    """Return the first character of each word in the text that they are without gaps."""
    return [*accumulate(map(len, words[:-1]), initial=0)][: len(words)]
