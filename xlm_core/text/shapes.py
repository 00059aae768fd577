"""Shapes of chunks. Moses' rules treat letters alike, and digits, so that chunks of one shape are split in one way.

In a shape, a run of letters or digits is one or two characters: one for the first of them, and another one if there are
more. An atom is such a run, or any other character.

Letters: K chunks, A atoms, C characters of all chunks, each with a line break after it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xlm_core.ragged import NUM_CODES, code_table, to_codes, to_text
from xlm_core.text.normalize import PUNCT_TABLE, ROMANIAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# The characters of shapes that stand for letters and digits. The rules look for an `s` after an apostrophe.
LOWER_LETTER, LETTER_S, OTHER_LETTER, NUMBER = "a", "s", "A", "0"

# The replacements that the rules begin with, and those that follow unless a rule for several characters applies.
_FIRST_REPLACED = PUNCT_TABLE
REPLACED = PUNCT_TABLE | str.maketrans("„–«»", '"-""')


class Cut(NamedTuple):
    """Chunks cut into atoms.

    Attributes:
        shapes: [K].
        text: the chunks, each with a line break after it, with all replacements of single characters.
        begins: [A], the first character of each atom in the text. Line breaks are atoms.
        first_atoms: [K], the first atom of each chunk.
        dots: the atoms that are full stops.
    """

    shapes: list[str]
    text: str
    begins: NDArray[np.int64]
    first_atoms: NDArray[np.int64]
    dots: NDArray[np.int64]


class ShapeTable:
    """The properties of each character.

    Args:
        letters: that the rules treat alike.
        lower: the lower-case ones of them, and other characters.
        is_romanian: whether Romanian letters are replaced.
    """

    def __init__(self, letters: frozenset[str], lower: frozenset[str], *, is_romanian: bool):
        special = ROMANIAN if is_romanian else {}
        first = code_table(_FIRST_REPLACED | special)
        self._replaced = code_table(REPLACED | special)
        is_letter, is_digit = _members(letters)[first], _members("0123456789")[first]
        # 0: atoms of one character; line breaks are such atoms.
        self._runs = is_letter.astype(np.int8) + 2 * is_digit
        shapes = np.where(is_letter, np.uint32(ord(OTHER_LETTER)), first)
        shapes[is_letter & _members(lower)[first]] = ord(LOWER_LETTER)
        shapes[is_letter & (first == ord(LETTER_S))] = ord(LETTER_S)
        shapes[is_digit] = ord(NUMBER)
        self._shapes = shapes
        self._following = np.array([0, ord(LOWER_LETTER), ord(NUMBER)], np.uint32)  # by kind of run

    def cut(self, chunks: Sequence[str]) -> Cut:
        """Cut chunks, which have no line breaks, into atoms."""
        codes_C, _ = to_codes(["\n".join(chunks), "\n"])
        runs_C = self._runs[codes_C]
        is_first_C = runs_C == 0
        is_first_C[0] = True
        is_first_C[1:] |= runs_C[1:] != runs_C[:-1]
        is_second_C = ~is_first_C
        is_second_C[1:] &= is_first_C[:-1]
        shape_C = self._shapes[codes_C]
        shape_C[is_second_C] = self._following[runs_C[is_second_C]]
        shapes = to_text(shape_C[is_first_C | is_second_C]).split("\n")
        begins = np.flatnonzero(is_first_C)
        replaced_C = self._replaced[codes_C]
        first_A = replaced_C[begins]
        stops, dots = (np.flatnonzero(first_A == ord(char)) for char in "\n.")
        return Cut(shapes[:-1], to_text(replaced_C), begins, np.append(0, stops[:-1] + 1), dots)


@lru_cache(maxsize=8)  # nearly all languages share one
def shape_table(letters: frozenset[str], lower: frozenset[str], *, is_romanian: bool) -> ShapeTable:
    """Return the table of a language."""
    return ShapeTable(letters, lower, is_romanian=is_romanian)


def _members(chars: Iterable[str]) -> NDArray[np.bool_]:
    table = np.zeros(NUM_CODES, np.bool_)
    table[[ord(char) for char in chars]] = True
    return table
