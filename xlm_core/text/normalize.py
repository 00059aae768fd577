"""Normalize a text before segmentation: Moses' punctuation rules, control characters, Romanian letters.

The rules are sacremoses' own tables, applied in its order to an `AlignedText`. The result is therefore exactly the
reference's, and characters stay aligned with the original text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from sacremoses import MosesPunctNormalizer

from xlm_core.text.composition import order_marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xlm_core.text.aligned import AlignedText

# Tabs, line breaks and other control characters that separate words. The reference deletes them, as it does all
# characters of category C, which joins the words around them. Replaced by spaces, they keep the words separate.
CONTROL_WHITESPACE: dict[int, str] = {
    c: " " for c in range(0x110000) if chr(c).isspace() and unicodedata.category(chr(c)) == "Cc"
}

# Remove diacritics, in both the cedilla and the comma form of ş and ţ, as the reference does for "ro".
ROMANIAN = str.maketrans("ŞşȘșŢţȚțĂăÂâÎî", "SsSsTtTtAaAaIi")

# Moses' rule for a quotation mark after dots searches again from every dot of a run: quadratic time. This one matches
# the run once.
_LINEAR_TIME_RULES: dict[str, tuple[str, Callable[[re.Match[str]], str]]] = {
    r'(\.+)"(\s*[^<])': (r'(\.+)(?:"(\s*[^<]))?', lambda m: m[0] if m[2] is None else f'"{m[1]}{m[2]}'),
}


class _Rule:
    """One substitution: a pattern, its replacement, and characters without which the pattern does not match."""

    __slots__ = ("needed", "pattern", "replacement")

    def __init__(self, pattern: str, replacement: str):
        self.needed = _needed_chars(pattern)
        # The rule from ` +` to one space matches every space but changes only runs: match only runs.
        pattern, self.replacement = _LINEAR_TIME_RULES.get(
            pattern, ("  +" if pattern == " +" else pattern, replacement)
        )
        self.pattern = re.compile(pattern)

    def apply(self, aligned: AlignedText) -> None:
        if self.needed in aligned.text:
            aligned.sub(self.pattern, self.replacement)


def _needed_chars(pattern: str) -> str:
    """Return the longest part of a pattern without groups and repeated characters; every match contains it."""
    if pattern == " +":
        return "  "  # see `_Rule`
    parts = re.split(r"(?<!\\)\([^()]*\)\+?|\\s\*", pattern.replace(r"\r", "\r"))
    return max((re.sub(r"\\(\W)", r"\1", part) for part in parts), key=len)


def _split_rules(rules: Iterable[tuple[str, str]]) -> tuple[dict[int, int | str], list[_Rule]]:
    """Separate replacements of single characters, which keep offsets. The rules do not depend on their order."""
    rules = list(rules)
    table: dict[int, int | str] = {ord(old): new for old, new in rules if len(old) == len(new) == 1}
    return table, [_Rule(old, new) for old, new in rules if not len(old) == len(new) == 1]


PUNCT_TABLE, _PUNCT_RULES = _split_rules(MosesPunctNormalizer.REPLACE_UNICODE_PUNCTUATION)


@lru_cache(maxsize=256)
def _language_rules(lang: str) -> list[_Rule]:
    rules = cast("list[tuple[str, str]]", MosesPunctNormalizer(lang=lang).substitutions)
    return [_Rule(pattern, replacement) for pattern, replacement in rules]


def normalize_punctuation(aligned: AlignedText, lang: str) -> None:
    """Apply Moses' Unicode punctuation and its rules for `lang`, and delete characters of category C, in place."""
    aligned.translate(PUNCT_TABLE)
    for rule in _PUNCT_RULES:
        rule.apply(aligned)
    for rule in _language_rules(lang):
        rule.apply(aligned)
    aligned.strip()
    if not aligned.text.isprintable():
        control = [i for i, c in enumerate(aligned.text) if unicodedata.category(c).startswith("C")]
        if control:
            aligned.delete(control)


def fold(word: str) -> tuple[str, list[int] | None]:
    """Do what `lower_and_strip_accents` does, faster for nearly all words.

    Returns:
        The new word, and the index of the source of each character; None if each character has become one.
    """
    if word.isascii():
        return word.lower(), None
    text = word.translate(_FOLDED)
    if not _FOLDED.irregular.isdisjoint(word):
        return lower_and_strip_accents(word)
    if len(text) == len(word) and _FOLDED.not_one.isdisjoint(word):
        return text, None
    return text, [i for i, c in enumerate(word) for _ in _FOLDED[ord(c)]]


class _FoldedChars(dict[int, str]):
    """The lower-cased form of each character without combining marks, for `str.translate`; filled on demand.

    Attributes:
        not_one: characters that become none or several.
        irregular: characters whose form depends on their word: a sigma, and marks that are sorted and not removed.
    """

    def __init__(self) -> None:
        self.not_one: set[str] = set()
        self.irregular: set[str] = set()

    def __missing__(self, code: int) -> str:
        char = chr(code)
        parts = [part for lower in char.lower() for part in unicodedata.normalize("NFD", lower)]
        kept = [part for part in parts if unicodedata.category(part) != "Mn"]
        if char == "Σ" or "Σ" in kept or any(map(unicodedata.combining, kept)):
            self.irregular.add(char)
        self[code] = folded = "".join(kept).lower()
        if len(folded) != 1:
            self.not_one.add(char)
        return folded


_FOLDED = _FoldedChars()


def lower_and_strip_accents(word: str) -> tuple[str, list[int]]:
    """Lower-case a word, decompose its characters and remove combining marks, as the reference does.

    Returns:
        The new word, and for each of its characters the index of its source character in `word`. The indices never
        decrease.
    """
    lowered = word.lower()
    sources = [
        i for i, c in enumerate(word) for _ in c.lower()
    ]  # the form of a final sigma depends on the word, but not its length
    chars: list[tuple[str, int]] = []
    for c, source in zip(lowered, sources, strict=True):
        chars += [(d, source) for d in unicodedata.normalize("NFD", c)]
    order_marks(chars)
    kept = [(c, source) for c, source in chars if unicodedata.category(c) != "Mn"]
    stripped = "".join(c for c, _ in kept)
    out: list[int] = []
    for c, source in kept:
        out += [max(source, out[-1] if out else 0)] * len(c.lower())
    return stripped.lower(), out
