"""Normalize and segment texts by language, aligned with the characters of the original."""

from xlm_core.text.normalize import lower_and_strip_accents
from xlm_core.text.segment import SEGMENTED_LANGS, Compat, SegmentedText, Segmenters

__all__ = [
    "SEGMENTED_LANGS",
    "Compat",
    "SegmentedText",
    "Segmenters",
    "lower_and_strip_accents",
]
