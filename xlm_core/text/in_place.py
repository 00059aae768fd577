"""Find the words of many Chinese, Japanese or Thai texts at once.

In nearly all texts of these languages, the rules for punctuation only replace single characters, and insert and delete
spaces. The visible characters of the words, which are all but spaces, are then those of the text, one for one. Each
text is segmented alone, but the rules are applied to all texts together: calling them takes longer than applying them
to a short text.

Letters: N texts, W words, O characters of the original texts, C characters of the words, V visible characters of the
words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import code_table, to_codes
from xlm_core.text.normalize import PUNCT_TABLE, normalize_printable
from xlm_core.text.words import MovedWord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from xlm_core.text.words import Word

# After each text, and between two words. No printable text has these characters, and no rule matches `_END`.
_END, _GAP = "\0", "\n"
_END_CODE, _GAP_CODE, _SPACE_CODE, _CLOSING = map(ord, (_END, _GAP, " ", ")"))

_REPLACED = code_table(PUNCT_TABLE | str.maketrans("„«»–—`´‘‚’。．", "\"\"\"--'''''.."))
_FULL_STOPS = [ord(stop) for stop in "。．"]
# The rules expand `…`. Japanese and Thai words may contain spaces; some of those around dashes and after full stops
# have the place of other characters.
_UNSUITED = {"zh": re.compile("…"), **dict.fromkeys(("ja", "th"), re.compile("[…—]|[。．]  "))}
# In Chinese, where a space is inserted after each word, a full stop replaces the stop and all but the last space.
_STOP_BEFORE_SPACE = re.compile(f"[。．] +(?=[^ {_END}]| {_END})")


class LocatedTexts(NamedTuple):
    """The words of N texts.

    Attributes:
        texts: [N], their numbers.
        words: [W].
        starts: int64 [W], the first character of each word in its text.
        sizes: int64 [N], the number of words of each text.
        changed: the numbers of texts whose characters do not keep their places. Their words are not valid.
    """

    texts: list[int]
    words: list[Word]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    changed: list[int]


class TextsInPlace:
    """Texts of one language, which are segmented one by one.

    Args:
        lang: "zh", "ja" or "th".
        texts: any texts, by their numbers.

    Attributes:
        plain: what is to be segmented, by the numbers of those texts whose characters probably keep their places.
        num_chars: the size of what was added since the last call of `locate`.
    """

    def __init__(self, lang: str, texts: Mapping[int, str]):
        self._lang = lang
        self._texts = _select_suited(texts, lang)
        self.plain = self._texts
        if lang != "zh":
            rewritten = normalize_printable(_join(self._texts.values()), lang).split(_END)
            self.plain = dict(zip(self._texts, map(str.strip, rewritten), strict=False))
        self._segmented: dict[int, str] = {}
        self.num_chars = 0

    def add(self, text: int, words: str) -> None:
        """Add the words of a text, by `join_words`."""
        self._segmented[text] = words
        self.num_chars += len(words)

    def locate(self) -> LocatedTexts:
        """Find the characters of all words that were added since the last call."""
        texts = list(self._segmented)
        old, new = _join(map(self._texts.__getitem__, texts)), _join(self._segmented.values())
        self._segmented, self.num_chars = {}, 0
        ends_O = np.arange(1, len(old) + 1)
        if self._lang == "zh":
            new = normalize_printable(new, "zh").replace(" ", _GAP)
            for match in _STOP_BEFORE_SPACE.finditer(old):
                ends_O[match.start()] = match.end()
        old_O, new_C = (to_codes([text])[0] for text in (old, new))
        visible_V = np.flatnonzero((new_C != _SPACE_CODE) & (new_C != _GAP_CODE))
        stop_N = np.flatnonzero(new_C[visible_V] == _END_CODE)
        places_V, begin_N = _place_visible(old_O, stop_N)
        is_other_V = _REPLACED[old_O[places_V]] != new_C[visible_V]
        changed = set(np.searchsorted(stop_N, np.flatnonzero(is_other_V)).tolist())

        starts_C, ends_C = np.zeros(len(new_C), np.int64), np.ones(len(new_C), np.int64)
        starts_C[visible_V], ends_C[visible_V] = places_V, ends_O[places_V]
        spaces = np.flatnonzero(new_C == _SPACE_CODE)
        starts_C[spaces], ends_C[spaces], is_inside = _place_spaces(old_O, places_V, np.searchsorted(visible_V, spaces))
        inside = spaces[is_inside]

        edges = np.flatnonzero(np.diff((new_C != _GAP_CODE) & (new_C != _END_CODE), prepend=False))
        begin_W, stop_W = edges[::2], edges[1::2]
        first_W = starts_C[begin_W]
        words: list[Word] = list(filter(None, new.replace(_END, _GAP).split(_GAP)))
        irregular = np.append(inside, np.flatnonzero(ends_C - starts_C != 1))
        moved = {
            *np.flatnonzero(starts_C[stop_W - 1] - first_W != stop_W - 1 - begin_W).tolist(),
            *(np.searchsorted(begin_W, irregular, side="right") - 1).tolist(),
        }
        begins_inside = set(inside.tolist())
        for w in moved:
            begin, stop = int(begin_W[w]), int(stop_W[w])
            starts, ends = (tuple((chars_C[begin:stop] - first_W[w]).tolist()) for chars_C in (starts_C, ends_C))
            words[w] = MovedWord(new[begin:stop], starts, ends, int(begin in begins_inside))
        sizes_N = np.diff(np.searchsorted(begin_W, visible_V[stop_N]), prepend=0)
        starts = first_W - np.repeat(begin_N, sizes_N)
        return LocatedTexts(texts, words, starts, sizes_N, [texts[n] for n in changed])


def _place_visible(old_O: NDArray[np.uint32], stop_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the places of the visible characters of words, and of the first character of each text.

    Args:
        old_O: the original texts.
        stop_N: the index, among the visible characters, of the end of each text.
    """
    places = np.flatnonzero(old_O != _SPACE_CODE)
    old_stop_N = np.flatnonzero(old_O[places] == _END_CODE)
    begin_N = np.append(0, places[old_stop_N] + 1)[:-1]
    if np.array_equal(stop_N, old_stop_N):
        return places, begin_N
    # The rules joined two quotation marks. The places in such a text are not valid.
    shift_N = np.append(0, old_stop_N - stop_N)[:-1]
    index_V = np.arange(stop_N[-1] + 1) + np.repeat(shift_N, np.diff(stop_N, prepend=-1))
    return places[np.minimum(index_V, len(places) - 1)], begin_N


def _place_spaces(
    old_O: NDArray[np.uint32], places_V: NDArray[np.int64], following: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Find the spans of the spaces in Japanese and Thai words.

    Args:
        old_O: the original texts.
        places_V: the places of the visible characters of words.
        following: the index of the one that follows each space.

    Returns:
        The start and the end of each space, and whether it has the place of a full stop.
    """
    before = places_V[np.maximum(following - 1, 0)]
    # Where a space is inserted after a bracket, it remains, and that of the text is deleted.
    is_after_bracket = _REPLACED[old_O[before]] == _CLOSING
    is_own = (old_O[before + 1] == _SPACE_CODE) & ~is_after_bracket
    # One that is inserted for a bracket has no characters; one that replaces a full stop, with a point, has its place.
    is_of_stop = ~is_own & np.isin(old_O[before], _FULL_STOPS)
    return before + ~is_of_stop, before + 1 + is_own, is_of_stop


def join_words(words: Iterable[str], lang: str) -> str:
    """Join the words of a text, by spaces if the rules are still to be applied."""
    return (" " if lang == "zh" else _GAP).join(words)


def _join(texts: Iterable[str]) -> str:
    return _END.join([*texts, ""])


def _select_suited(texts: Mapping[int, str], lang: str) -> Mapping[int, str]:
    joined = "".join(texts.values())
    if not (joined.isprintable() and unicodedata.is_normalized("NFC", joined)):  # else, each text is
        texts = {i: text for i, text in texts.items() if text.isprintable() and unicodedata.is_normalized("NFC", text)}
    unsuited = _UNSUITED[lang].search
    return {i: text for i, text in texts.items() if not unsuited(text)} if unsuited(joined) else texts
