"""Compose characters: normalize a text to NFC, aligned with the characters of the original text.

The released checkpoints were trained on composed text. In decomposed text (NFD: file names of macOS, text extracted
from PDF) an accent is a character of its own, at which Moses cuts the word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain, groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xlm_core.text.aligned import AlignedText

_HANGUL_VOWELS_AND_FINALS = [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]  # composed by rule, not by the table
# All others have ideographs, Hangul syllables or no characters, which NFC does not change: they are 92 % of the codes.
_BLOCKS_WITH_COMPOSITION = (range(0x3400), range(0xA000, 0xAC00), range(0xF900, 0x20000), range(0x2F800, 0x30000))
# CPython sorts a run of combining marks in quadratic time: 12 s for 128,000 marks in alternating order.
_MAX_UNSORTED_CHARS = 100


def compose(aligned: AlignedText) -> None:
    """Normalize a text to NFC, in place.

    A composed character gets the span of the characters that it is composed of, so that no token begins or ends among
    them.
    """
    if not unicodedata.is_normalized("NFC", aligned.text):
        aligned.sub(_clusters(), lambda match: _compose_cluster(match.group()))


def order_marks(chars: list[tuple[str, int]]) -> None:
    """Sort runs of combining characters in canonical order, in place: the step of NFD that moves characters.

    Args:
        chars: decomposed characters, each with the index of its source.
    """
    begin = 0
    while begin < len(chars):
        end = begin
        while end < len(chars) and unicodedata.combining(chars[end][0]):
            end += 1
        if end - begin > 1:
            chars[begin:end] = sorted(chars[begin:end], key=lambda item: unicodedata.combining(item[0]))
        begin = max(end, begin + 1)


@cache
def _clusters() -> re.Pattern[str]:
    """Build the pattern of everything that NFC can change: characters with what can combine with them, and some alone.

    Text between two matches does not depend on its neighbours, so each match can be normalized separately.
    """
    combining: list[int] = [*_HANGUL_VOWELS_AND_FINALS]
    changing: list[int] = []
    for code in chain(*_BLOCKS_WITH_COMPOSITION):
        char = chr(code)
        decomposition = unicodedata.decomposition(char)
        if unicodedata.combining(unicodedata.normalize("NFD", char)[0]):  # some Tibetan vowels only when decomposed
            combining.append(code)
        if decomposition and not decomposition.startswith("<"):
            _, *second = decomposition.split()
            combining += [int(part, 16) for part in second]
            if unicodedata.normalize("NFC", char) != char:
                changing.append(code)
    follow = _char_class(combining)
    return re.compile(f"[^{follow}]?[{follow}]+|[{_char_class(changing)}]")


def _char_class(codes: list[int]) -> str:
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in _ranges(sorted(set(codes))))


def _ranges(codes: list[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(codes), key=lambda item: item[1] - item[0]):
        run = [code for _, code in group]
        yield run[0], run[-1]


def _compose_cluster(cluster: str) -> str:
    if len(cluster) > _MAX_UNSORTED_CHARS:
        chars = [(part, 0) for char in cluster for part in unicodedata.normalize("NFD", char)]
        order_marks(chars)
        cluster = "".join(char for char, _ in chars)
    return unicodedata.normalize("NFC", cluster)
