"""What a job is: a tree of frozen, checked settings that do no input or output of their own.

`jobs.spec` reads it from YAML and turns what is wrong with it into lines for a person; the checks themselves are here.
Types are strict (the text "512" is not a number), and settings that do not exist are refused.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from pipelines.filters import parse_filter
from xlm_core.errors import FatalError

FILE_COLUMNS = ("file", "row")  # what identifies a row of the output when the job names no id column
RESERVED_PREFIX = "_xlm_"  # columns that stages add for each other; no input column that is read may begin so

Problem = tuple[tuple[str | int, ...], str]  # where, below the setting that is checked, and what


def _problems(*found: Problem) -> PydanticCustomError:
    """Carry several problems in one error; `jobs.spec` shows a line for each."""
    summary = "; ".join(message for _, message in found)
    return PydanticCustomError("problems", "{summary}", {"summary": summary, "found": found})


def _one_of(expected: str, tag: Callable[[Any], str | None], *, text: bool = False) -> Discriminator:
    """Choose a union's branch before validation, so that an error speaks of one branch and not of them all."""
    return Discriminator(
        tag,
        custom_error_type="expected",
        custom_error_message="expected {expected}",
        custom_error_context={"expected": expected, "text": text},
    )


def _text_or_list(value: object) -> str | None:
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else None


def _auto_or_count(value: object) -> str | None:
    return "auto" if value == "auto" else "count" if type(value) is int else None


def _check_column(name: str) -> str:
    if name.startswith(RESERVED_PREFIX):
        reason = f"since columns that begin with {RESERVED_PREFIX} are the job's own"
        raise _problems(((), f"{name} is not free, {reason}; rename it"))
    return name


Text = Annotated[str, Field(min_length=1)]
Column = Annotated[
    Text, AfterValidator(_check_column), Field(json_schema_extra={"not": {"pattern": f"^{RESERVED_PREFIX}"}})
]
Count = Annotated[int, Field(ge=1)]
AutoOrCount = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[Count, Tag("count")],
    _one_of("auto or a whole number from 1", _auto_or_count),
]


class Settings(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FixedLang(Settings):
    """One language for every row."""

    fixed: Text = Field(description="The language code of every row, such as de.")


def _check_pair(columns: list[str]) -> list[str]:
    if len(columns) > 2:
        raise _problems(
            ((), f"choices ({len(columns)} columns) are not supported yet; name one column, or two for pairs")
        )
    if len(columns) < 2:
        raise _problems(((), "a list names the two columns of a pair; write a single column without brackets"))
    return columns


def _check_filter(text: str) -> str:
    try:
        parse_filter(text)
    except FatalError as error:
        raise _problems(((), str(error).removeprefix("filter: "))) from None
    return text


class InputSpec(Settings):
    """The corpus, and which of its columns are what."""

    path: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[Text], Field(min_length=1), Tag("list")],
        _one_of("a path or a list of paths", _text_or_list, text=True),
    ] = Field(description="Parquet file, directory or glob, or a list of them; local, or the URL of an object store.")
    id: Column | None = Field(
        default=None, description="Column that identifies a row; without it, the output has file and row."
    )
    text: Annotated[
        Annotated[Column, Tag("text")]
        | Annotated[
            list[Column],
            AfterValidator(_check_pair),
            Field(json_schema_extra={"minItems": 2, "maxItems": 2}),
            Tag("list"),
        ],
        _one_of("a column or a list of two", _text_or_list, text=True),
    ] = Field(description="Column with the text, or the two columns of a pair, such as [question, context].")
    lang: Annotated[
        Annotated[Column, Tag("column")] | Annotated[FixedLang, Tag("one for all")],
        _one_of(
            "a column or {fixed: CODE}",
            lambda value: {str: "column", dict: "one for all", FixedLang: "one for all"}.get(type(value)),
            text=True,
        ),
    ] = Field(description="Column with each row's language code, or {fixed: CODE} for one language throughout.")
    filter: Annotated[Text, AfterValidator(_check_filter)] | None = Field(
        default=None, description='Rows to read, such as year >= 2024 and lang in ["de", "fr"]; pushed into Parquet.'
    )
    keep: list[Column] = Field(
        default=[],
        description="Columns passed through to the output, types unchanged.",
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, keep: list[str], info: ValidationInfo) -> list[str]:
        row_id = info.data.get("id")
        found: list[Problem] = []
        for i, column in enumerate(keep):
            if column in keep[:i]:
                found.append(((i,), f"{column} is kept twice; remove one"))
            elif column == row_id:
                found.append(((i,), f"{column} is input.id, which the output has anyway; remove it from keep"))
            elif row_id is None and column in FILE_COLUMNS:
                found.append(((i,), f"without input.id the output has a column {column} of its own; set input.id"))
        if found:
            raise _problems(*found)
        return keep

    @property
    def id_columns(self) -> list[str]:
        """Columns of the output which identify a row."""
        return list(FILE_COLUMNS) if self.id is None else [self.id]

    @property
    def text_columns(self) -> list[str]:
        """One column, or the two of a pair."""
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def lang_column(self) -> str | None:
        """The column with each row's language, if it is not the same for all."""
        return self.lang if isinstance(self.lang, str) else None


class ModelSpec(Settings):
    """The trunk that all tasks share."""

    checkpoint: Text = Field(
        description="Directory or URL of the checkpoint, such as hf://FacebookAI/xlm-mlm-100-1280."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Arithmetic of the trunk; auto takes what suits the device."
    )


class TaskSpec(Settings):
    """A task as YAML has it: its bare name, or a mapping from its name to its settings."""

    kind: ClassVar[str]

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$",
        description="Letters, digits and underscores, a letter first; goes before the task's columns as <name>_.",
    )

    @property
    def columns(self) -> list[str]:
        """Columns of the output which this task adds, in their order."""
        return [f"{self.name}_{column}" if self.name else column for column in self._own_columns()]

    def _own_columns(self) -> list[str]:
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if value == cls.kind:
            return {}
        if isinstance(value, dict) and list(cast("dict[Any, Any]", value)) == [cls.kind]:
            return {} if value[cls.kind] is None else value[cls.kind]
        return value

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.kind: handler(self)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        definition = handler.resolve_ref_schema(reference)
        settings = {**definition, "title": f"{cls.kind} settings"}
        described = {"title": cls.kind, "description": definition["description"]}
        mapping = {
            "type": "object",
            "properties": {cls.kind: {"anyOf": [settings, {"type": "null"}]}},
            "required": [cls.kind],
            "additionalProperties": False,
        }
        definition.clear()
        definition.update(described, oneOf=[{"const": cls.kind}, mapping])
        return reference


class FeatureExtraction(TaskSpec):
    """Embed each row: a column `embedding`."""

    kind: ClassVar[str] = "feature-extraction"

    pooling: Literal["first", "mean", "last", "max"] = Field(
        default="mean", description="How the token vectors of a row become one vector."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    dtype: Literal["float32", "float16"] = Field(
        default="float32", description="Type of the numbers written; some readers lack float16."
    )

    def _own_columns(self) -> list[str]:
        return ["embedding"]


class TextClassification(TaskSpec):
    """Classify each row: columns `label` and `score`, on request also `top` and `scores`."""

    kind: ClassVar[str] = "text-classification"

    head: Text | None = Field(
        default=None, description="Directory or URL of the head; without it, the checkpoint's own."
    )
    top_k: Count | None = Field(
        default=None, description="Write the best so many labels with their scores, as column top."
    )
    scores: bool = Field(default=False, description="Write the scores of all labels, as column scores.")

    def _own_columns(self) -> list[str]:
        return ["label", "score", *(["top"] if self.top_k else []), *(["scores"] if self.scores else [])]


class TokenClassification(TaskSpec):
    """Label the words of each row: a column `words`, or `entities`."""

    kind: ClassVar[str] = "token-classification"

    head: Text | None = Field(
        default=None, description="Directory or URL of the head; without it, the checkpoint's own."
    )
    aggregate: Literal["word", "entity"] = Field(
        default="word", description="A label for each word (column words), or spans of several words (column entities)."
    )

    def _own_columns(self) -> list[str]:
        return ["words" if self.aggregate == "word" else "entities"]


TASKS: dict[str, type[TaskSpec]] = {
    task.kind: task for task in (FeatureExtraction, TextClassification, TokenClassification)
}


def _task_kind(value: object) -> str | None:
    if isinstance(value, TaskSpec):
        return value.kind
    if isinstance(value, dict) and len(cast("dict[Any, Any]", value)) == 1:
        value = next(iter(cast("dict[Any, Any]", value)))
    return value if isinstance(value, str) and value in TASKS else None


Task = Annotated[
    Annotated[FeatureExtraction, Tag("feature-extraction")]
    | Annotated[TextClassification, Tag("text-classification")]
    | Annotated[TokenClassification, Tag("token-classification")],
    _one_of(f"one of {', '.join(TASKS)}, alone or as TASK: {{settings}}", _task_kind),
]


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
        _one_of(
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
        raise _problems(((), f"got {gpus}, but only up to 1 may a GPU be shared; write a fraction or a whole number"))
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
            raise _problems(*found)
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
            "policy": {key: job["policy"][key] for key in ("unknown_lang", "empty_text", "duplicate_ids")},
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
