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

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

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


def punctuation_rules(lang: str) -> Hashable:
    """Return what the result of `normalize_punctuation` depends on, which is the same for most languages."""
    return tuple((rule.pattern, rule.replacement) for rule in _language_rules(lang))


def normalize_printable(text: str, lang: str) -> str:
    """Return the result of `normalize_punctuation` for a printable text, without its alignment."""
    text = text.translate(PUNCT_TABLE)
    for rules in (_PUNCT_RULES, _language_rules(lang)):
        for rule in rules:
            if rule.needed in text:
                text = rule.pattern.sub(rule.replacement, text)
    return text.strip()


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
