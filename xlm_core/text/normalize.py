"""Normalize a text before segmentation: Moses' punctuation rules, control characters, Romanian letters.

The rules are sacremoses' own tables, applied in its order to an `AlignedText`. The result is therefore exactly the
reference's, and characters stay aligned with the original text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, cast

from sacremoses import MosesPunctNormalizer

from xlm_core.ragged import code_table, to_codes, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from xlm_core.text.aligned import AlignedText

# Tabs, line breaks and other control characters that separate words. The reference deletes them, as it does all
# characters of category C, which joins the words around them. Replaced by spaces, they keep the words separate.
CONTROL_WHITESPACE: dict[int, str] = {
    c: " " for c in range(0x110000) if chr(c).isspace() and unicodedata.category(chr(c)) == "Cc"
}

# Remove diacritics, in both the cedilla and the comma form of ş and ţ, as the reference does for "ro".
ROMANIAN = str.maketrans("ŞşȘșŢţȚțĂăÂâÎî", "SsSsTtTtAaAaIi")

# Rules in another form, with the same result.
_FASTER_RULES: dict[str, tuple[str, str | Callable[[re.Match[str]], str]]] = {
    # The rule for a quotation mark after dots searches again from every dot of a run: quadratic time. Match it once.
    r'(\.+)"(\s*[^<])': (r'(\.+)(?:"(\s*[^<]))?', lambda m: m[0] if m[2] is None else f'"{m[1]}{m[2]}'),
    # The rule from a run of spaces to one space matches every space but changes only runs: match only runs.
    " +": ("  +", " "),
    # A literal at the beginning is found several times as fast as a digit.
    r"(\d) %": (r" %(?<=\d %)", "%"),
}


class _Rule:
    """One substitution: a pattern, its replacement, and characters without which the pattern does not match."""

    __slots__ = ("is_literal", "needed", "pattern", "replacement")

    def __init__(self, pattern: str, replacement: str):
        self.needed = _needed_chars(pattern)
        self.is_literal = self.needed == _unescape(pattern)
        pattern, self.replacement = _FASTER_RULES.get(pattern, (pattern, replacement))
        self.pattern = re.compile(pattern)

    def rewrite(self, text: str) -> str:
        """Apply the rule to a text."""
        if self.is_literal:  # an order of magnitude faster in long texts
            return text.replace(self.needed, cast("str", self.replacement))
        return self.pattern.sub(self.replacement, text)

    def apply(self, aligned: AlignedText) -> None:
        if self.needed in aligned.text:
            aligned.sub(self.pattern, self.replacement)


def _needed_chars(pattern: str) -> str:
    """Return the longest part of a pattern without groups and repeated characters; every match contains it."""
    if pattern == " +":
        return "  "  # see `_FASTER_RULES`
    parts = re.split(r"(?<!\\)\([^()]*\)\+?|\\s\*", pattern.replace(r"\r", "\r"))
    return max(map(_unescape, parts), key=len)


def _unescape(pattern: str) -> str:
    return re.sub(r"\\(\W)", r"\1", pattern)


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


@cache
def _printable_rules(lang: str) -> list[_Rule]:
    """Return the rules, apart from those for single characters, that can match in a printable text."""
    return [rule for rule in (*_PUNCT_RULES, *_language_rules(lang)) if rule.needed.isprintable()]


@cache
def _punct_codes() -> NDArray[np.uint32]:
    return code_table(PUNCT_TABLE)


def punctuation_rules(lang: str) -> Hashable:
    """Return what the result of `normalize_punctuation` depends on, which is the same for most languages."""
    return tuple((rule.pattern, rule.replacement) for rule in _language_rules(lang))


def normalize_printable(text: str, lang: str) -> str:
    """Return the result of `normalize_punctuation` for a printable text, without its alignment.

    White space at both ends remains. The text may consist of several, separated by a character that is neither
    printable nor white space: no rule looks at the ends of a text, and none matches such a character.
    """
    text = to_text(_punct_codes()[to_codes([text])[0]])
    for rule in _printable_rules(lang):
        if rule.needed in text:
            text = rule.rewrite(text)
    return text


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
