"""Normalize and segment texts by language, aligned with the characters of the original."""

from xlm_core.text.folding import fold_table, lower_and_strip_accents
from xlm_core.text.segment import SEGMENTED_LANGS, ChineseSegmenter, Compat, JapaneseSegmenter, Segmenters
from xlm_core.text.word_finder import WordFinder
from xlm_core.text.words import MovedWord, SegmentedText, Word, Words

__all__ = [
    "SEGMENTED_LANGS",
    "ChineseSegmenter",
    "Compat",
    "JapaneseSegmenter",
    "MovedWord",
    "SegmentedText",
    "Segmenters",
    "Word",
    "WordFinder",
    "Words",
    "fold_table",
    "lower_and_strip_accents",
]
