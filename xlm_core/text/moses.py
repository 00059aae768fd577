"""Moses' word rules, by sacremoses, with faster tests of characters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from sacremoses import MosesTokenizer

if TYPE_CHECKING:
    from collections.abc import Hashable

NEUTRAL = "und"  # ISO 639: undetermined


class Moses(MosesTokenizer):
    """sacremoses' tokenizer. It applies a rule only to texts with its character, and has sets for lists.

    Args:
        lang: a language code, or `NEUTRAL` for no list of abbreviations.
    """

    LOWER = frozenset(MosesTokenizer.IsLower)

    # The end of the marker is optional, so that a run of DOT without it is scanned once, not once from every DOT.
    MULTIDOT_MARKER = re.compile(r"(?:DOT)+(?:MULTI)?")

    def __init__(self, lang: str):
        super().__init__(lang=lang)
        self._alpha = frozenset(self.IsAlpha)
        is_neutral = lang == NEUTRAL
        self.NONBREAKING_PREFIXES = frozenset(() if is_neutral else self.NONBREAKING_PREFIXES)
        self.NUMERIC_ONLY_PREFIXES = frozenset(() if is_neutral else self.NUMERIC_ONLY_PREFIXES)
        if lang == "en":
            self._apostrophes = list(self.ENGLISH_SPECIFIC_APOSTROPHE)
        elif lang in ("fr", "it"):
            self._apostrophes = list(self.FR_IT_SPECIFIC_APOSTROPHE)
        else:
            self._apostrophes = [self.NON_SPECIFIC_APOSTROPHE]
        self._commas = [self.COMMA_SEPARATE_1, self.COMMA_SEPARATE_2, self.COMMA_SEPARATE_3]

    def words(self, text: str) -> list[str]:
        """Return what `tokenize(text, escape=False)` returns."""
        text = self.ASCII_JUNK[0].sub("", " ".join(text.split()))
        pattern, replacement = self.PAD_NOT_ISALNUM
        text = pattern.sub(replacement, text.strip())
        if ".." in text:
            text = self.replace_multidots(text)
        for char, rules in ((",", self._commas), ("'", self._apostrophes)):
            if char in text:
                for pattern, replacement in rules:
                    text = pattern.sub(replacement, text)
        words = text.split()
        if "." in text:
            words = self._split_final_dots(words)
        if "'" in text and ".'" in (text := " ".join(words)):
            pattern, replacement = self.TRAILING_DOT_APOSTROPHE
            words = pattern.sub(replacement, text).split()
        if "DOT" in text:
            words = self.restore_multidots(" ".join(words)).split()
        return words

    def _split_final_dots(self, words: list[str]) -> list[str]:
        """Separate the full stop at the end of a word, unless the word is an abbreviation."""
        found: list[str] = []
        for word, following in zip(words, [*words[1:], ""], strict=True):
            prefix = word[:-1]
            if (
                word[-1] != "."
                or not prefix
                or (
                    ("." in prefix and self.isanyalpha(prefix))
                    or (prefix in self.NONBREAKING_PREFIXES and prefix not in self.NUMERIC_ONLY_PREFIXES)
                    or following[:1] in self.LOWER
                    or (prefix in self.NUMERIC_ONLY_PREFIXES and following[:1].isdigit() and following[:1].isascii())
                )
            ):
                found.append(word)
            else:
                found += (prefix, ".")
        return found

    @property
    def letters(self) -> frozenset[str]:
        """The letters that all rules treat alike, apart from their case and from `s`, which follows an apostrophe."""
        return _letters(self.IsAlpha, self.IsAlnum, self.IsN)

    @property
    def rules(self) -> Hashable:
        """What the words of texts without abbreviations depend on, which is the same for most languages."""
        return self.IsAlpha, self.PAD_NOT_ISALNUM, *self._apostrophes, *self._commas

    def restore_multidots(self, text: str) -> str:
        """Decode runs of dots."""
        return self.MULTIDOT_MARKER.sub(self.unmark_dots, text)

    @staticmethod
    def unmark_dots(match: re.Match[str]) -> str:
        """Return the dots that a marker stands for."""
        mark = match.group()
        return "." * (len(mark.removesuffix("MULTI")) // len("DOT")) if mark.endswith("MULTI") else mark

    def isanyalpha(self, text: str) -> bool:
        """Return whether any character is a letter."""
        return not self._alpha.isdisjoint(text)


@lru_cache(maxsize=256)
def load_moses(lang: str) -> Moses:
    """Return the rules of a language."""
    return Moses(lang)


@lru_cache(maxsize=8)  # nearly all languages share one set
def _letters(alpha: str, alnum: str, numbers: str) -> frozenset[str]:
    alike = set(alpha) & set(alnum) - set(numbers) - {"º"}
    # sacremoses' list of Hangul has full stops, which the rules for punctuation replace.
    return frozenset(c for c in alike if unicodedata.category(c)[0] in "LM")
