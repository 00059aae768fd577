"""The kinds of job files: jobs that `xlm run` runs, trainings, and jobs that learn a vocabulary."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jobs.job_file.yaml_reader import Key
from pipelines.job import SECTION_SETTINGS, Job, settings_class_at
from pipelines.settings import KindSettings, Settings
from pipelines.tasks import TASKS
from pipelines.training_job import (
    OBJECTIVES,
    TRAINING_SECTIONS,
    VOCABULARY_SECTIONS,
    TrainingJob,
    VocabularyJob,
    training_settings_at,
    vocabulary_settings_at,
)

# The settings that are lists of kinds: the kinds that an item may have, and what an item is called.
KINDS: dict[str, tuple[Mapping[str, type[KindSettings]], str]] = {
    "tasks": (TASKS, "task"),
    "objectives": (OBJECTIVES, "objective"),
}


class JobKind(NamedTuple):
    """A kind of job file.

    Attributes:
        settings: the class of all settings.
        command: the command that runs such a job.
        own_setting: a setting that each such job has, and no other kind of job.
        required: the settings that a job must have, in words.
        sections: the classes of the sections.
        settings_at: returns the class of the settings at a key; None if there is none.
    """

    settings: type[Settings]
    command: str
    own_setting: str
    required: str
    sections: Mapping[str, type[Settings]]
    settings_at: Callable[[Key], type[Settings] | None]


RUN = JobKind(Job, "xlm run", "tasks", "input, model, tasks and output", SECTION_SETTINGS, settings_class_at)
TRAIN = JobKind(
    TrainingJob,
    "xlm train",
    "objectives",
    "model, objectives, training and output",
    TRAINING_SECTIONS,
    training_settings_at,
)
VOCABULARY = JobKind(
    VocabularyJob,
    "xlm train",
    "vocabulary",
    "vocabulary and output",
    VOCABULARY_SECTIONS,
    vocabulary_settings_at,
)


def kinds_at(key: Key) -> Mapping[str, type[KindSettings]]:
    """Return the kinds that an item of a list may have; none if the value at the key is no such item."""
    return KINDS[str(key[0])][0] if len(key) == 2 and key[0] in KINDS else {}
