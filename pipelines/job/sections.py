"""The sections of a job other than `input` and `tasks`: model, tokenizer, batch, output, policy and compute."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag, WithJsonSchema

from pipelines.rows import TOKEN_COUNTS
from pipelines.settings import AutoOrCount, Count, NonEmptyStr, Settings, one_of
from pipelines.storage import Url


class ModelSettings(Settings):
    """The model that all tasks share."""

    checkpoint: Url = Field(description="Directory or URL of the checkpoint, such as hf://FacebookAI/xlm-mlm-100-1280.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number type of the model's weights. auto is float16 on a GPU and float32 on a CPU. CPUs without "
        "instructions for bfloat16 (AVX-512 BF16 or AMX) or float16 take many times as long in it.",
    )
    objective: Literal["checkpoint", "causal", "masked"] = Field(
        default="checkpoint",
        description="Whether a token sees only earlier tokens (causal) or all tokens (masked). checkpoint uses the "
        "value in config.json, which is wrong in the released causal checkpoints.",
    )


class TokenizerSettings(Settings):
    """How text is converted to tokens. Every setting affects results."""

    max_length: Annotated[int, Field(ge=3)] | None = Field(
        default=None,
        description="Maximum number of tokens of a row, with special tokens. By default 512, or what the positions of "
        "the checkpoint allow if that is less.",
    )
    on_overflow: Literal["truncate", "window", "reject"] = Field(
        default="truncate",
        description="What to do with longer rows: cut off the end, split the row into overlapping windows, or reject "
        "the row.",
    )
    overlap_tokens: Annotated[int, Field(ge=0)] = Field(
        default=64, description="Number of tokens that consecutive windows of a row have in common."
    )
    bypass_tokenizer: bool = Field(
        default=False,
        description="Set to true if texts are words separated by spaces, in lower case if the checkpoint needs it. "
        "They are then split into subwords without any other processing.",
    )
    zh: Literal["jieba", "rjieba"] = Field(default="jieba", description="Word segmenter for Chinese.")
    ja: Literal["kytea", "fugashi"] = Field(
        default="kytea", description="Word segmenter for Japanese. The released checkpoints were trained with kytea."
    )
    kytea_model: Url | None = Field(default=None, description="Path of KyTea's model file.")
    compat: Literal["default", "reference"] = Field(
        default="default",
        description="reference gives exactly the ids of the reference implementation, if zh is rjieba and ja is kytea. "
        "default also separates words at tabs and line breaks, composes letters and accents (NFC), and treats the "
        "names of special tokens in texts as plain text.",
    )
    max_chars: Count = Field(default=1_000_000, description="Rows with more characters are rejected, not tokenized.")


class BatchSettings(Settings):
    """How rows are grouped into forward passes."""

    max_tokens: AutoOrCount = Field(
        default="auto",
        description="Maximum number of tokens of a forward pass. auto fits most devices. It is halved if memory runs "
        "out, and does not affect results.",
    )
    invariant: bool = Field(
        default=False,
        description="Run each sequence alone, so that not even the last bit of a result depends on other rows. Slower.",
    )


class OutputSettings(Settings):
    """The dataset that the job writes."""

    path: Url = Field(description="Directory of the output, or its URL in an object store.")
    rows_per_shard: Count = Field(
        default=16_384,
        description="Maximum number of rows of a shard. A shard is one file of the output, and is computed and "
        "committed as a whole. Shards of long texts, and of large models on a CPU, have fewer rows.",
    )
    token_counts: bool = Field(
        default=False,
        description="Add the columns num_tokens (with special tokens, before truncation), num_truncated and "
        "num_unknown.",
    )

    @property
    def count_columns(self) -> list[str]:
        """The columns of the output with numbers of tokens."""
        return [*TOKEN_COUNTS] if self.token_counts else []


class PolicySettings(Settings):
    """What to do with rows and shards that cannot be processed."""

    unknown_lang: Literal["reject", "neutral"] = Field(
        default="reject",
        description="What to do with rows whose language is not in the checkpoint: reject them, or run the model "
        "without a language (neutral).",
    )
    duplicate_ids: Literal["error", "reject", "ignore"] = Field(
        default="error",
        description="What to do with rows that repeat an id: stop the job (error), reject all but the first, or write "
        "all of them (ignore).",
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
        description="Maximum number of rejected rows. A run ends early once it is certain to exceed it. A number with "
        "a decimal point is a share of all rows, and a whole number is a count: 1.0 allows all rows, 1 allows one row.",
    )
    max_failed_shards: int = Field(
        default=0,
        ge=0,
        description="Maximum number of failed shards. A run that exceeds it ends early. If any shard failed, the "
        "output has no _SUCCESS, and the next run computes the failed shards again.",
    )
    max_removed: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="Maximum share of the corpus that may have changed or been deleted since the last run, in rows, so "
        "that their results are removed. A run that exceeds it stops, because the input may be unavailable instead.",
    )
    shard_timeout_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = Field(
        default=1800.0,
        description="Time limit in seconds without progress on a shard: no text tokenized, and no layer of the model "
        "computed. A process that exceeds it is killed, and the rows that cause it are found and rejected. A shard may "
        "take any time as long as it makes progress.",
    )
    stop_grace_s: Annotated[float, Field(ge=0)] = Field(
        default=25.0,
        description="Seconds that shards in flight are given to finish when a run is interrupted or ends early. "
        "Kubernetes kills a process after 30.",
    )

    def count_allowed_rejections(self, num_rows: int) -> float:
        """Return how many of `num_rows` rows may be rejected."""
        return self.max_rejected * num_rows if isinstance(self.max_rejected, float) else self.max_rejected


def _check_gpus(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"got {gpus}, expected a fraction below 1, or a whole number")
    return gpus


class ComputeSettings(Settings):
    """Where the job runs, and with how many processes. No setting affects results."""

    address: NonEmptyStr | None = Field(
        default=None,
        description="local starts Ray on this machine. auto, or the address of a Ray cluster, joins a running one; "
        "a cluster with a token needs the environment variables RAY_AUTH_MODE=token and RAY_AUTH_TOKEN. By default, a "
        "job joins the cluster of RAY_ADDRESS, which Ray sets for submitted jobs, and is local without it.",
    )
    tokenizers: AutoOrCount = Field(
        default="auto",
        description="Number of tokenizer processes, and of those that identify languages if input.lang detects them.",
    )
    models: AutoOrCount = Field(default="auto", description="Number of model processes.")
    gpus_per_model: Annotated[
        float,
        Field(ge=0),
        AfterValidator(_check_gpus),
        WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "integer", "minimum": 1}]}),
    ] = Field(
        default=1.0,
        description="Number of GPUs of each model process. With 0.5 two processes share a GPU; with 0 the model runs "
        "on the CPU.",
    )
    price_per_hour: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Price of all machines for an hour, in any currency. xlm plan prints what the job will cost.",
    )
    object_store_mb: Annotated[int, Field(ge=80)] | None = Field(
        default=None,
        description="Size of Ray's object store in MB, if the job starts Ray. By default Ray chooses it.",
    )
