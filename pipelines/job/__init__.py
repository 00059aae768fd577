"""The settings of a job, as read from a job file, and the fingerprint of everything its results depend on."""

from pipelines.job.checks import check_overlap
from pipelines.job.fingerprint import build_fingerprint, fingerprint_digest, result_settings
from pipelines.job.input import ColumnName, DetectedLang, FixedLang, InputSettings
from pipelines.job.job import SECTION_SETTINGS, Job, settings_class_at
from pipelines.job.local_paths import resolve_local_paths
from pipelines.job.saved_settings import parse_input, parse_policy, unreadable_settings_error
from pipelines.job.sections import ComputeSettings, ModelSettings, PolicySettings, TokenizerSettings

__all__ = [
    "SECTION_SETTINGS",
    "ColumnName",
    "ComputeSettings",
    "DetectedLang",
    "FixedLang",
    "InputSettings",
    "Job",
    "ModelSettings",
    "PolicySettings",
    "TokenizerSettings",
    "build_fingerprint",
    "check_overlap",
    "fingerprint_digest",
    "parse_input",
    "parse_policy",
    "resolve_local_paths",
    "result_settings",
    "settings_class_at",
    "unreadable_settings_error",
]
