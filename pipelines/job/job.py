"""What a job is: a tree of frozen, checked settings that do no input or output of their own.

`jobs.job_file.load` reads it from YAML and turns what is wrong with it into lines for a person; the checks are here.
Types are strict (the text "512" is not a number), and settings that do not exist are refused.
"""

from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipelines.job.checks import contradictions
from pipelines.job.input import FixedLang, InputSettings
from pipelines.job.sections import (
    BatchSettings,
    ComputeSettings,
    ModelSettings,
    OutputSettings,
    PolicySettings,
    TokenizerSettings,
)
from pipelines.settings import Settings, Violation, violations
from pipelines.storage.options import StoreSettings
from pipelines.tasks.settings import (
    TASKS,
    FeatureExtraction,
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    Task,
    TextClassification,
    TextGeneration,
    TokenClassification,
)
from pipelines.tasks.task_spec import HeadTaskSettings, TaskSettings

__all__ = [
    "SECTIONS",
    "TASKS",
    "BatchSettings",
    "ComputeSettings",
    "FeatureExtraction",
    "FillMask",
    "FixedLang",
    "HeadTaskSettings",
    "InputSettings",
    "Job",
    "LmScoring",
    "ModelSettings",
    "MultipleChoice",
    "OutputSettings",
    "PolicySettings",
    "QuestionAnswering",
    "TaskSettings",
    "TextClassification",
    "TextGeneration",
    "TokenClassification",
    "TokenizerSettings",
    "settings_at",
]


class Job(Settings):
    """A job: one pass of a checkpoint over a corpus, for one or more tasks."""

    name: str = Field(
        default="xlm-job",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="At most 63 letters, digits, dots, dashes and underscores, a letter or digit first.",
    )
    input: InputSettings = Field(description="The corpus, and which of its columns are what.")
    storage: tuple[StoreSettings, ...] = Field(
        default=(), strict=False, description="Options of object stores, by URL; of several the longest address holds."
    )
    model: ModelSettings = Field(description="The trunk that all tasks share.")
    tasks: list[Task] = Field(min_length=1, description="What to compute; one pass of the trunk serves all tasks.")
    tokenizer: TokenizerSettings = Field(default=TokenizerSettings(), description="How text becomes tokens.")
    batch: BatchSettings = Field(default=BatchSettings(), description="How rows share a forward pass.")
    output: OutputSettings = Field(description="The dataset that the job writes.")
    policy: PolicySettings = Field(
        default=PolicySettings(), description="What to do with rows and shards that cannot be served."
    )
    compute: ComputeSettings = Field(default=ComputeSettings(), description="Where the job runs and how wide.")

    @field_validator("tasks")
    @classmethod
    def _check_columns(cls, tasks: list[Task], info: ValidationInfo) -> list[Task]:
        given = info.data.get("input")
        owners: dict[str, str] = {}
        if isinstance(given, InputSettings):  # else it has errors of its own
            owners = dict.fromkeys(given.keep, "input.keep") | dict.fromkeys(given.id_columns, "the row's id")
        found: list[Violation] = []
        for i, task in enumerate(tasks):
            for owner in dict.fromkeys(owners[column] for column in task.columns if column in owners):
                shared = ", ".join(column for column in task.columns if owners.get(column) == owner)
                advice = "set the task's name, which goes before its columns"
                found.append(((i,), f"{task.kind} writes {shared}, and so does {owner}; {advice}"))
            owners = dict.fromkeys(task.columns, f"tasks.{i} ({task.kind})") | owners
        if found:
            raise violations(*found)
        return tasks

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        found = contradictions(self.input, self.tasks, self.tokenizer, self.output)
        if found:
            raise violations(*found)
        return self

    @property
    def columns(self) -> list[str]:
        """All columns of the output, in their order: what identifies the row, what is kept, what the tasks add."""
        results = [column for task in self.tasks for column in task.columns]
        return [*self.input.id_columns, *self.input.keep, *self.output.count_columns, *results]


SECTIONS: dict[str, type[Settings]] = {
    "input": InputSettings,
    "model": ModelSettings,
    "tokenizer": TokenizerSettings,
    "batch": BatchSettings,
    "output": OutputSettings,
    "policy": PolicySettings,
    "compute": ComputeSettings,
}


def settings_at(path: tuple[str | int, ...]) -> type[Settings] | None:
    """The group of settings at a path of the YAML form, such as ("tasks", 0, "feature-extraction")."""
    match path:
        case ():
            return Job
        case ("input", "lang"):
            return FixedLang
        case ("storage", int()):
            return StoreSettings
        case ("tasks", int(), str(kind)):
            return TASKS.get(kind)
        case (str(section),):
            return SECTIONS.get(section)
        case _:
            return None
