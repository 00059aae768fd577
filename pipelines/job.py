"""What a job is: a tree of frozen, checked settings that do no input or output of their own.

`jobs.spec` reads it from YAML and turns what is wrong with it into lines for a person; the checks themselves are here.
Types are strict (the text "512" is not a number), and settings that do not exist are refused.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Tag, ValidationInfo, WithJsonSchema, field_validator

from pipelines.input_settings import FixedLang, InputSpec
from pipelines.settings import AutoOrCount, Count, Problem, Settings, Text, one_of, problems
from pipelines.task_settings import (
    TASKS,
    FeatureExtraction,
    Task,
    TaskSpec,
    TextClassification,
    TokenClassification,
)

__all__ = [
    "SECTIONS",
    "TASKS",
    "BatchSpec",
    "ComputeSpec",
    "FeatureExtraction",
    "FixedLang",
    "InputSpec",
    "Job",
    "ModelSpec",
    "OutputSpec",
    "PolicySpec",
    "TaskSpec",
    "TextClassification",
    "TokenClassification",
    "TokenizerSpec",
    "settings_at",
]


class ModelSpec(Settings):
    """The trunk that all tasks share."""

    checkpoint: Text = Field(
        description="Directory or URL of the checkpoint, such as hf://FacebookAI/xlm-mlm-100-1280."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Arithmetic of the trunk; auto takes what suits the device."
    )


class TokenizerSpec(Settings):
    """How text becomes tokens; all of it changes results."""

    max_length: int = Field(default=512, ge=3, description="Most tokens of a row, the special ones included.")
    on_overflow: Literal["truncate", "reject"] = Field(
        default="truncate",
        description="What happens to a row with more tokens: its end is cut off, or the row is rejected.",
    )
    zh: Literal["jieba", "rjieba"] = Field(default="jieba", description="Segmenter of Chinese.")
    ja: Literal["kytea", "fugashi"] = Field(
        default="kytea", description="Segmenter of Japanese; the released checkpoints had kytea."
    )
    kytea_model: Text | None = Field(default=None, description="KyTea's model file.")
    compat: Literal["default", "reference"] = Field(
        default="default",
        description="reference gives the reference implementation's ids to the letter; default also keeps words "
        "apart at tabs and line breaks, and lets no text inject special tokens.",
    )
    max_chars: Count = Field(
        default=1_000_000, description="Rows with more characters are rejected before they are tokenized."
    )


class BatchSpec(Settings):
    """How rows share a forward pass."""

    max_tokens: AutoOrCount = Field(
        default="auto",
        description="Most tokens of a forward pass; auto finds what fits the device. No result depends on it.",
    )
    invariant: bool = Field(
        default=False, description="Make every row's bytes independent of its neighbours, at some cost in speed."
    )


class OutputSpec(Settings):
    """The dataset that the job writes."""

    path: Text = Field(description="Directory of the output, local or the URL of an object store.")
    rows_per_shard: Count = Field(
        default=16_384,
        description="Most rows of a shard, which is a file of the output and the unit of work and commit.",
    )


class PolicySpec(Settings):
    """What to do with rows and shards that cannot be served."""

    unknown_lang: Literal["reject", "neutral"] = Field(
        default="reject", description="A row whose language the checkpoint lacks: rejected, or run without a language."
    )
    empty_text: Literal["reject"] = Field(default="reject", description="A row whose text is null, or holds no token.")
    duplicate_ids: Literal["error", "reject", "ignore"] = Field(
        default="error",
        description="Rows that repeat an id: the job stops, all but the first are rejected, or all are written.",
    )
    max_rejected: Annotated[
        Annotated[int, Field(ge=0), Tag("count")] | Annotated[float, Field(ge=0, le=1), Tag("share")],
        one_of(
            "a share such as 0.01, or a whole number of rows",
            lambda value: {int: "count", float: "share"}.get(type(value)),
        ),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0, "maximum": 1}]}),
    ] = Field(
        default=0.01,
        description="Most rejected rows before the job counts as failed. A number with a point is a share of all rows, "
        "one without is a count: 1.0 allows every row, 1 allows one row.",
    )
    max_failed_shards: int = Field(
        default=0,
        ge=0,
        description="Most failed shards before the job counts as failed. With any, the output has no _SUCCESS, and the "
        "next run tries them again.",
    )


def _check_gpus(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"got {gpus}, but only up to 1 may a GPU be shared; write a fraction or a whole number")
    return gpus


class ComputeSpec(Settings):
    """Where the job runs and how wide; none of it changes results."""

    address: Text = Field(
        default="local",
        description="local starts Ray on this machine; auto, or a cluster's address, joins a running one.",
    )
    tokenizers: AutoOrCount = Field(default="auto", description="Processes that tokenize.")
    models: AutoOrCount = Field(default="auto", description="Processes that hold the model.")
    gpus_per_model: Annotated[
        float,
        Field(ge=0),
        AfterValidator(_check_gpus),
        WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "integer", "minimum": 1}]}),
    ] = Field(
        default=1.0, description="GPUs of each model process; 0.5 lets two share one, 0 runs the model on the CPU."
    )
    object_store_mb: Annotated[int, Field(ge=80)] | None = Field(
        default=None, description="Ray's shared memory in MB, where the job starts Ray itself; without it, Ray chooses."
    )


class Job(Settings):
    """A job: one pass of a checkpoint over a corpus, for one or more tasks."""

    name: str = Field(
        default="xlm-job",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="At most 63 letters, digits, dots, dashes and underscores, a letter or digit first.",
    )
    input: InputSpec = Field(description="The corpus, and which of its columns are what.")
    model: ModelSpec = Field(description="The trunk that all tasks share.")
    tasks: list[Task] = Field(min_length=1, description="What to compute; one pass of the trunk serves all tasks.")
    tokenizer: TokenizerSpec = Field(default=TokenizerSpec(), description="How text becomes tokens.")
    batch: BatchSpec = Field(default=BatchSpec(), description="How rows share a forward pass.")
    output: OutputSpec = Field(description="The dataset that the job writes.")
    policy: PolicySpec = Field(
        default=PolicySpec(), description="What to do with rows and shards that cannot be served."
    )
    compute: ComputeSpec = Field(default=ComputeSpec(), description="Where the job runs and how wide.")

    @field_validator("tasks")
    @classmethod
    def _check_columns(cls, tasks: list[Task], info: ValidationInfo) -> list[Task]:
        given = info.data.get("input")
        owners: dict[str, str] = {}
        if isinstance(given, InputSpec):  # else it has errors of its own
            owners = dict.fromkeys(given.keep, "input.keep") | dict.fromkeys(given.id_columns, "the row's id")
        found: list[Problem] = []
        for i, task in enumerate(tasks):
            for owner in dict.fromkeys(owners[column] for column in task.columns if column in owners):
                shared = ", ".join(column for column in task.columns if owners.get(column) == owner)
                advice = "set the task's name, which goes before its columns"
                found.append(((i,), f"{task.kind} writes {shared}, and so does {owner}; {advice}"))
            owners = dict.fromkeys(task.columns, f"tasks.{i} ({task.kind})") | owners
        if found:
            raise problems(*found)
        return tasks

    @property
    def columns(self) -> list[str]:
        """All columns of the output, in their order: what identifies the row, what is kept, what the tasks add."""
        return [*self.input.id_columns, *self.input.keep, *(column for task in self.tasks for column in task.columns)]

    def fingerprint_fields(self) -> dict[str, Any]:
        """Collect the settings that can change a result, as plain JSON values.

        Where the corpus, the checkpoint, the heads and KyTea's model lie is left out; the caller adds what they hold.
        `rows_per_shard` is in, since it decides which rows stand in which part.
        """
        job = self.model_dump(mode="json")
        tasks = [{task.kind: task.model_dump(mode="json", exclude={"head"})[task.kind]} for task in self.tasks]
        return {
            "input": {key: job["input"][key] for key in ("id", "text", "lang", "filter", "keep")},
            "precision": job["model"]["precision"],
            "tasks": tasks,
            "tokenizer": {key: value for key, value in job["tokenizer"].items() if key != "kytea_model"},
            "invariant": job["batch"]["invariant"],
            # as long as no id is repeated, to stop at one and to reject it come to the same
            "policy": {
                "unknown_lang": self.policy.unknown_lang,
                "empty_text": self.policy.empty_text,
                "duplicate_ids": "ignore" if self.policy.duplicate_ids == "ignore" else "reject",
            },
            "rows_per_shard": job["output"]["rows_per_shard"],
        }


SECTIONS: dict[str, type[Settings]] = {
    "input": InputSpec,
    "model": ModelSpec,
    "tokenizer": TokenizerSpec,
    "batch": BatchSpec,
    "output": OutputSpec,
    "policy": PolicySpec,
    "compute": ComputeSpec,
}


def settings_at(path: tuple[str | int, ...]) -> type[Settings] | None:
    """The group of settings at a path of the YAML form, such as ("tasks", 0, "feature-extraction")."""
    match path:
        case ():
            return Job
        case ("input", "lang"):
            return FixedLang
        case ("tasks", int(), str(kind)):
            return TASKS.get(kind)
        case (str(section),):
            return SECTIONS.get(section)
        case _:
            return None
