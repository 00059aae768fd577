"""What happens to a text before it is cut into words: Moses' punctuation rules, control characters, Romanian.

The rules themselves are sacremoses' own tables, applied in its order through `AlignedText`, so that the result is
the reference's to the letter and every character keeps its place in the original.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from sacremoses import MosesPunctNormalizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xlm_core.text.aligned import AlignedText

# Tabs, line breaks and the other control characters that separate words. They are of category C, which the
# reference deletes, gluing the words on either side; as spaces they keep them apart.
CONTROL_WHITESPACE: dict[int, str] = {
    c: " " for c in range(0x110000) if chr(c).isspace() and unicodedata.category(chr(c)) == "Cc"
}

# Cedilla and comma forms of ş and ţ are written alike, then diacritics go: what the reference does for "ro".
ROMANIAN = str.maketrans("ŞşȘșŢţȚțĂăÂâÎî", "SsSsTtTtAaAaIi")


# Moses' rule for a quotation mark after dots searches again from every dot of a run; this one takes the run at once.
_AT_ONCE: dict[str, tuple[str, Callable[[re.Match[str]], str]]] = {
    r'(\.+)"(\s*[^<])': (r'(\.+)(?:"(\s*[^<]))?', lambda m: m[0] if m[2] is None else f'"{m[1]}{m[2]}'),
}


class _Rule:
    """One substitution: a pattern, what replaces it, and a cheap test of whether it can apply."""

    __slots__ = ("literal", "pattern", "replacement")

    def __init__(self, pattern: str, replacement: str):
        self.literal = pattern if re.escape(pattern) == pattern or len(pattern) == 1 else None
        # ` +` to one space is a rule that fires on every space and changes only runs: look for runs
        pattern, self.replacement = _AT_ONCE.get(pattern, ("  +" if pattern == " +" else pattern, replacement))
        self.pattern = re.compile(pattern)

    def apply(self, aligned: AlignedText) -> None:
        if self.literal is None or self.literal in aligned.text:
            aligned.sub(self.pattern, self.replacement)


def _split_rules(rules: Iterable[tuple[str, str]]) -> tuple[dict[int, int | str], list[_Rule]]:
    """Part one-to-one replacements, which move nothing, from the rest; no rule here makes what another one reads."""
    rules = list(rules)
    table: dict[int, int | str] = {ord(old): new for old, new in rules if len(old) == len(new) == 1}
    return table, [_Rule(old, new) for old, new in rules if not len(old) == len(new) == 1]


_PUNCT_TABLE, _PUNCT_RULES = _split_rules(MosesPunctNormalizer.REPLACE_UNICODE_PUNCTUATION)


@lru_cache(maxsize=256)
def _language_rules(lang: str) -> list[_Rule]:
    rules = cast("list[tuple[str, str]]", MosesPunctNormalizer(lang=lang).substitutions)
    return [_Rule(pattern, replacement) for pattern, replacement in rules]


def normalize_punctuation(aligned: AlignedText, lang: str) -> None:
    """Apply Moses' Unicode punctuation, its rules for `lang`, and drop characters of category C, in place."""
    aligned.translate(_PUNCT_TABLE)
    for rule in _PUNCT_RULES:
        rule.apply(aligned)
    for rule in _language_rules(lang):
        rule.apply(aligned)
    aligned.strip()
    if not aligned.text.isprintable():
        control = [i for i, c in enumerate(aligned.text) if unicodedata.category(c).startswith("C")]
        if control:
            aligned.delete(control)


def lower_and_strip_accents(word: str) -> tuple[str, list[int]]:
    """Lower-case, decompose, and drop combining marks, as the reference does to every word.

    Returns:
        The new word, and for each of its characters the index of the character of `word` it came from
        (never decreasing).
    """
    lowered = word.lower()
    sources = [i for i, c in enumerate(word) for _ in c.lower()]  # a final sigma changes form, never length
    chars: list[tuple[str, int]] = []
    for c, source in zip(lowered, sources, strict=True):
        chars += [(d, source) for d in unicodedata.normalize("NFD", c)]
    _order_marks(chars)
    kept = [(c, source) for c, source in chars if unicodedata.category(c) != "Mn"]
    stripped = "".join(c for c, _ in kept)
    out: list[int] = []
    for c, source in kept:
        out += [max(source, out[-1] if out else 0)] * len(c.lower())
    return stripped.lower(), out


def _order_marks(chars: list[tuple[str, int]]) -> None:
    """Bring runs of combining characters into canonical order, in place: the part of NFD that crosses characters."""
    begin = 0
    while begin < len(chars):
        end = begin
        while end < len(chars) and unicodedata.combining(chars[end][0]):
            end += 1
        if end - begin > 1:
            chars[begin:end] = sorted(chars[begin:end], key=lambda item: unicodedata.combining(item[0]))
        begin = max(end, begin + 1)
