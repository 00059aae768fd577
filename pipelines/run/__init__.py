"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.run.checks import (
        LanguageSurvey,
        LangUse,
        check_fixed_lang,
        describe_certain_rejections,
        survey_languages,
    )
    from pipelines.run.estimate import Estimate, estimate_job
    from pipelines.run.execute import run
    from pipelines.run.output_checks import check_before_changes, check_output, check_removal
    from pipelines.run.prepare import Prepared, prepare_job
    from pipelines.run.sample import compute_sample

__all__ = [
    "Estimate",
    "LangUse",
    "LanguageSurvey",
    "Prepared",
    "check_before_changes",
    "check_fixed_lang",
    "check_output",
    "check_removal",
    "compute_sample",
    "describe_certain_rejections",
    "estimate_job",
    "prepare_job",
    "run",
    "survey_languages",
]

_MODULES = {  # the module of each name; only `estimate`, `execute` and `sample` import Ray
    "Estimate": "estimate",
    "LangUse": "checks",
    "LanguageSurvey": "checks",
    "Prepared": "prepare",
    "check_before_changes": "output_checks",
    "check_fixed_lang": "checks",
    "check_output": "output_checks",
    "check_removal": "output_checks",
    "compute_sample": "sample",
    "describe_certain_rejections": "checks",
    "estimate_job": "estimate",
    "prepare_job": "prepare",
    "run": "execute",
    "survey_languages": "checks",
}

__getattr__ = lazy_names(__name__, _MODULES)
