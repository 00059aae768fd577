"""The tasks of a language model head: fill masks, score texts, generate texts."""

from pipelines.tasks.language_modeling.fill_mask import FillMask
from pipelines.tasks.language_modeling.lm_scoring import LmScoring
from pipelines.tasks.language_modeling.text_generation import TextGeneration

__all__ = ["FillMask", "LmScoring", "TextGeneration"]
