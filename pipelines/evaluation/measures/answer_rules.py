"""Exact match and F1 of answers by the published rules.

English follows SQuAD's script (evaluate-v1.1.py), and ar, de, es, hi, vi and zh that of MLQA
(mlqa_evaluation_v1.py). MLQA's rules without articles apply to all other languages; of those that are written without
spaces, each character is a word, as in Chinese.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from functools import cache

from xlm_core.languages import canonical_lang

_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
}
# The characters that are words of their own. MLQA's range for Chinese ends at U+9FA5.
_HAN, _KANA = "\u4e00-\u9fa5", "\u3040-\u30ff"
_SINGLE = {
    "zh": _HAN,
    "yue": _HAN,
    "wuu": _HAN,
    "ja": _HAN + _KANA,
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f",
    "km": "\u1780-\u17ff",
}


def exact_match(answer: str, golds: list[str], lang: str) -> float:
    """Return 1 if an answer equals one of the gold answers after normalization, and 0 otherwise."""
    words = answer_words(answer, lang)
    return float(any(words == answer_words(gold, lang) for gold in golds))


def f1(answer: str, golds: list[str], lang: str) -> float:
    """Return the F1 of an answer's words, for the gold answer for which it is highest.

    Of no words, as when there is no answer, it is 1 if the other answer has no words either.
    """
    return max(_f1(answer_words(answer, lang), answer_words(gold, lang)) for gold in golds)


def answer_words(text: str, lang: str) -> tuple[str, ...]:
    """Return the words of an answer: in lower case, without punctuation and articles."""
    return _words(text, _rules_of(lang))


@cache
def _rules_of(lang: str) -> str:
    return canonical_lang(lang) or lang


@cache
def _punctuation(lang: str) -> re.Pattern[str]:
    marks = set(string.punctuation)
    if lang != "en":
        marks.update(c for c in map(chr, range(sys.maxunicode)) if unicodedata.category(c).startswith("P"))
    return re.compile(f"[{re.escape(''.join(sorted(marks)))}]")


@cache
def _single_characters(lang: str) -> re.Pattern[str] | None:
    return re.compile(f"([{_SINGLE[lang]}])") if lang in _SINGLE else None


def _words(text: str, lang: str) -> tuple[str, ...]:
    text = _punctuation(lang).sub("", text.lower())
    if lang in _ARTICLES:
        text = re.sub(_ARTICLES[lang], " ", text)
    single = _single_characters(lang)
    return tuple((single.sub(r" \1 ", text) if single else text).split())


def _f1(answer: tuple[str, ...], gold: tuple[str, ...]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    num_common = (Counter(answer) & Counter(gold)).total()
    return 2 * num_common / (len(answer) + len(gold))
