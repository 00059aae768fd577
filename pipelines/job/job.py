"""The job: the settings of a whole job file, and where each group of settings belongs in it.

Settings are validated without any I/O. `jobs.job_file.load` reads them from YAML, and turns validation errors into
messages with line numbers.
"""

from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipelines.job.checks import check_combinations, check_task_columns
from pipelines.job.input import InputSettings, LangSettings
from pipelines.job.sections import (
    BatchSettings,
    ComputeSettings,
    ModelSettings,
    OutputSettings,
    PolicySettings,
    TokenizerSettings,
)
from pipelines.settings import JobName, Settings, violations
from pipelines.storage import StoreSettings
from pipelines.tasks import TASKS, AnyTaskSettings


class Job(Settings):
    """A job runs one checkpoint over a corpus, for one or more tasks."""

    name: JobName = "xlm-job"
    input: InputSettings = Field(description="The corpus, and the meaning of its columns.")
    storage: tuple[StoreSettings, ...] = Field(
        default=(),
        strict=False,
        description="Options of object stores, by URL. If several URLs match a file, the longest one applies.",
    )
    model: ModelSettings = Field(description="The model that all tasks share.")
    tasks: list[AnyTaskSettings] = Field(
        min_length=1, description="What to compute; all tasks share one forward pass of the model."
    )
    tokenizer: TokenizerSettings = Field(default=TokenizerSettings(), description="How text is converted to tokens.")
    batch: BatchSettings = Field(default=BatchSettings(), description="How rows are grouped into forward passes.")
    output: OutputSettings = Field(description="The dataset that the job writes.")
    policy: PolicySettings = Field(
        default=PolicySettings(), description="What to do with rows and shards that cannot be processed."
    )
    compute: ComputeSettings = Field(
        default=ComputeSettings(), description="Where the job runs, and with how many processes."
    )

    @field_validator("tasks")
    @classmethod
    def _check_columns(cls, tasks: list[AnyTaskSettings], info: ValidationInfo) -> list[AnyTaskSettings]:
        if found := list(check_task_columns(info.data.get("input"), tasks)):
            raise violations(*found)
        return tasks

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if found := check_combinations(self.input, self.tasks, self.tokenizer, self.output):
            raise violations(*found)
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of the output: the row's id, kept columns, languages, token counts, and the tasks' columns."""
        results = [column for task in self.tasks for column in task.columns]
        return [
            *self.input.id_columns,
            *self.input.kept,
            *self.input.detected_columns,
            *self.output.count_columns,
            *results,
        ]


SECTION_SETTINGS: dict[str, type[Settings]] = {
    "input": InputSettings,
    "model": ModelSettings,
    "tokenizer": TokenizerSettings,
    "batch": BatchSettings,
    "output": OutputSettings,
    "policy": PolicySettings,
    "compute": ComputeSettings,
}


def settings_class_at(path: tuple[str | int, ...]) -> type[Settings] | None:
    """Return the class of the settings at a path in a job file, such as ("tasks", 0, "feature-extraction")."""
    match path:
        case ():
            return Job
        case ("input", "lang"):
            return LangSettings
        case ("storage", int()):
            return StoreSettings
        case ("tasks", int(), str(kind)):
            return TASKS.get(kind)
        case (str(section),):
            return SECTION_SETTINGS.get(section)
        case _:
            return None
