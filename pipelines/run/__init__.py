"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.run.checks import (
        LanguageSurvey,
        LangUse,
        check_fixed_lang,
        choose_max_length,
        describe_certain_rejections,
        pin_detection,
        survey_languages,
    )
    from pipelines.run.cluster import ray_session
    from pipelines.run.estimate import Estimate, estimate_job
    from pipelines.run.execute import run
    from pipelines.run.graceful_stop import Stop, stop_signals
    from pipelines.run.output_checks import check_before_changes, check_output, check_removal
    from pipelines.run.prepare import Prepared, prepare_job
    from pipelines.run.sample import compute_sample

__all__ = [
    "Estimate",
    "LangUse",
    "LanguageSurvey",
    "Prepared",
    "Stop",
    "check_before_changes",
    "check_fixed_lang",
    "check_output",
    "check_removal",
    "choose_max_length",
    "compute_sample",
    "describe_certain_rejections",
    "estimate_job",
    "pin_detection",
    "prepare_job",
    "ray_session",
    "run",
    "stop_signals",
    "survey_languages",
]

_MODULES = {  # the module of each name; only `estimate`, `execute` and `sample` import Ray
    "Estimate": "estimate",
    "LangUse": "checks",
    "LanguageSurvey": "checks",
    "Prepared": "prepare",
    "Stop": "graceful_stop",
    "check_before_changes": "output_checks",
    "check_fixed_lang": "checks",
    "check_output": "output_checks",
    "check_removal": "output_checks",
    "choose_max_length": "checks",
    "compute_sample": "sample",
    "describe_certain_rejections": "checks",
    "estimate_job": "estimate",
    "pin_detection": "checks",
    "prepare_job": "prepare",
    "ray_session": "cluster",
    "run": "execute",
    "stop_signals": "graceful_stop",
    "survey_languages": "checks",
}

__getattr__ = lazy_names(__name__, _MODULES)
