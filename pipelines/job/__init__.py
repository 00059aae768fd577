"""The settings of a job, as read from a job file, and the fingerprint of everything its results depend on."""

from pipelines.job.checks import check_overlap
from pipelines.job.fingerprint import build_fingerprint, fingerprint_digest, result_settings
from pipelines.job.input import FILE_COLUMNS, FixedLang, InputSettings
from pipelines.job.job import SECTION_SETTINGS, Job, settings_class_at
from pipelines.job.sections import DEFAULT_MAX_LENGTH, ComputeSettings, ModelSettings, PolicySettings, TokenizerSettings

__all__ = [
    "DEFAULT_MAX_LENGTH",
    "FILE_COLUMNS",
    "SECTION_SETTINGS",
    "ComputeSettings",
    "FixedLang",
    "InputSettings",
    "Job",
    "ModelSettings",
    "PolicySettings",
    "TokenizerSettings",
    "build_fingerprint",
    "check_overlap",
    "fingerprint_digest",
    "result_settings",
    "settings_class_at",
]
