"""The class `XLM`: texts in, results out, for people who have no job to run."""

from xlm_core.xlm.results import Answer, Answers, Choice, Classification, Fill, Label, Span, TextScore
from xlm_core.xlm.runner import RunSettings
from xlm_core.xlm.xlm import XLM

__all__ = ["XLM", "Answer", "Answers", "Choice", "Classification", "Fill", "Label", "RunSettings", "Span", "TextScore"]
