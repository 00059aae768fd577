"""What is checked before the settings of the stages are derived: the checkpoints, their heads and the languages."""

from pipelines.run.checks.checkpoint import check_fixed_lang, check_precision, choose_max_length
from pipelines.run.checks.detection import Detection, pin_detection
from pipelines.run.checks.heads import pin_heads
from pipelines.run.checks.languages import (
    LanguageSurvey,
    LangUse,
    check_segmenters,
    segmented_langs,
    survey_languages,
    survey_quickly,
)
from pipelines.run.checks.rejections import describe_certain_rejections

__all__ = [
    "Detection",
    "LangUse",
    "LanguageSurvey",
    "check_fixed_lang",
    "check_precision",
    "check_segmenters",
    "choose_max_length",
    "describe_certain_rejections",
    "pin_detection",
    "pin_heads",
    "segmented_langs",
    "survey_languages",
    "survey_quickly",
]
