"""Split texts into words by the rules of their language, with the position of each word in the original text."""

from xlm_core.text.normalize import lower_and_strip_accents
from xlm_core.text.segment import Compat, SegmentedText, Segmenters

__all__ = [
    "Compat",
    "SegmentedText",
    "Segmenters",
    "lower_and_strip_accents",
]
