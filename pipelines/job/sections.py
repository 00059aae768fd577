"""The sections of a job beside its input and tasks: model, tokenizer, batches, output, policy and compute."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag, WithJsonSchema

from pipelines.rows.schemas import TOKEN_COUNTS
from pipelines.settings import AutoOrCount, Count, NonEmptyStr, Settings, one_of
from pipelines.storage.options import Url


class ModelSettings(Settings):
    """The trunk that all tasks share."""

    checkpoint: Url = Field(description="Directory or URL of the checkpoint, such as hf://FacebookAI/xlm-mlm-100-1280.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Arithmetic of the trunk; auto takes what suits the device."
    )
    objective: Literal["checkpoint", "causal", "masked"] = Field(
        default="checkpoint",
        description="Whether a token sees only those before it (causal) or all; checkpoint takes what config.json "
        "says, which for the released causal models is wrong.",
    )


class TokenizerSettings(Settings):
    """How text becomes tokens; all of it changes results."""

    max_length: int = Field(default=512, ge=3, description="Most tokens of a row, the special ones included.")
    on_overflow: Literal["truncate", "window", "reject"] = Field(
        default="truncate",
        description="What happens to a row with more tokens: its end is cut off, it is read in overlapping windows, or "
        "it is rejected.",
    )
    overlap_tokens: Annotated[int, Field(ge=0)] = Field(
        default=64, description="Tokens that two windows of a row have in common."
    )
    bypass_tokenizer: bool = Field(
        default=False,
        description="The texts are words parted by spaces already, lower-cased where the checkpoint wants it: they go "
        "straight to byte-pair encoding.",
    )
    zh: Literal["jieba", "rjieba"] = Field(default="jieba", description="Segmenter of Chinese.")
    ja: Literal["kytea", "fugashi"] = Field(
        default="kytea", description="Segmenter of Japanese; the released checkpoints had kytea."
    )
    kytea_model: NonEmptyStr | None = Field(default=None, description="KyTea's model file.")
    compat: Literal["default", "reference"] = Field(
        default="default",
        description="reference gives the reference implementation's ids to the letter; default also keeps words "
        "apart at tabs and line breaks, and lets no text inject special tokens.",
    )
    max_chars: Count = Field(
        default=1_000_000, description="Rows with more characters are rejected before they are tokenized."
    )


class BatchSettings(Settings):
    """How rows share a forward pass."""

    max_tokens: AutoOrCount = Field(
        default="auto",
        description="Most tokens of a forward pass; auto is what most devices have room for. Halved where memory runs "
        "out. No result depends on it.",
    )
    invariant: bool = Field(
        default=False, description="Make every row's bytes independent of its neighbours, at some cost in speed."
    )


class OutputSettings(Settings):
    """The dataset that the job writes."""

    path: Url = Field(description="Directory of the output, local or the URL of an object store.")
    rows_per_shard: Count = Field(
        default=16_384,
        description="Most rows of a shard, which is a file of the output and the unit of work and commit.",
    )
    token_counts: bool = Field(
        default=False,
        description="Add columns num_tokens (special ones and those cut off included), num_truncated and num_unknown.",
    )

    @property
    def count_columns(self) -> list[str]:
        """Columns of the output which count a row's tokens."""
        return list(TOKEN_COUNTS) if self.token_counts else []


class PolicySettings(Settings):
    """What to do with rows and shards that cannot be served."""

    unknown_lang: Literal["reject", "neutral"] = Field(
        default="reject", description="A row whose language the checkpoint lacks: rejected, or run without a language."
    )
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
        description="Most rejected rows; a run that must exceed it ends early. A number with a point is a share of all "
        "rows, one without is a count: 1.0 allows every row, 1 allows one row.",
    )
    max_failed_shards: int = Field(
        default=0,
        ge=0,
        description="Most failed shards; a run that exceeds it ends early. With any, the output has no _SUCCESS, and "
        "the next run tries them again.",
    )
    max_removed: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="Largest share of the output's parts that a run may remove because their files changed or went; "
        "beyond it the run stops and asks, since an input that is not there looks the same.",
    )
    shard_timeout_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = Field(
        default=3600.0,
        description="Seconds that tokenizing a full shard may take, and running the model over it; a process that "
        "takes longer is killed, and the shard tried again, three times in all. "
        "Where a shard honestly takes long, raise it or lower output.rows_per_shard.",
    )
    stop_grace_s: Annotated[float, Field(ge=0)] = Field(
        default=25.0,
        description="Seconds that shards in flight have to finish when a run is interrupted or ends early; Kubernetes "
        "kills after 30.",
    )


def _check_gpus(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"got {gpus}, but only up to 1 may a GPU be shared; write a fraction or a whole number")
    return gpus


class ComputeSettings(Settings):
    """Where the job runs and how wide; none of it changes results."""

    address: NonEmptyStr = Field(
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
