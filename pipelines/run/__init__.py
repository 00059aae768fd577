"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""

from pipelines.run.execute import check_before_changes, check_output, run
from pipelines.run.languages import LanguageSurvey, LangUse, survey_languages
from pipelines.run.prepare import Prepared, prepare_job
from pipelines.run.sample import compute_sample

__all__ = [
    "LangUse",
    "LanguageSurvey",
    "Prepared",
    "check_before_changes",
    "check_output",
    "compute_sample",
    "prepare_job",
    "run",
    "survey_languages",
]
