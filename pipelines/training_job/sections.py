"""The sections of a training job other than its objectives."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.settings import AutoOrCount, Count, NonEmptyStr, Settings
from pipelines.storage import Url

Share = Annotated[float, Field(ge=0, lt=1)]


class TrainedModelSettings(Settings):
    """The model to train: a checkpoint, or a new one with random weights."""

    checkpoint: Url | None = Field(
        default=None, description="Directory or URL of the checkpoint that is trained further."
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="Instead of a checkpoint: the configuration of a new model, with the names of config.json, such as "
        "{emb_dim: 256, n_layers: 4, n_heads: 4}. Vocabulary and languages are those of the tokenizer.",
    )
    tokenizer: Url | None = Field(default=None, description="Directory or URL with the tokenizer files of a new model.")
    init: Literal["random", "local"] = Field(
        default="random",
        description="How a new model starts: with random weights or, for small models and little data, with heads that "
        "look at the tokens before and after each token (local).",
    )
    freeze: bool = Field(default=False, description="Train only the heads, over the trunk as it is.")
    dropout: Share | None = Field(
        default=None, description="Dropout probability, also of attention weights. By default that of the checkpoint."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Number type of matrix products; weights are float32. auto is bfloat16 on GPUs that have it, and "
        "float32 on a CPU. CPUs with AVX-512 BF16 or AMX compute twice as fast in bfloat16.",
    )


class TrainingSettings(Settings):
    """How the weights are updated."""

    steps: Count | None = Field(default=None, description="Number of training steps. Required, unless epochs is set.")
    epochs: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Instead of steps: how often all rows are seen, if no language is sampled more often than it "
        "occurs.",
    )
    tokens_per_step: Count = Field(
        default=8192, description="About how many tokens a step averages over, on all workers together."
    )
    max_tokens: AutoOrCount = Field(
        default="auto",
        description="Maximum number of tokens of a forward and backward pass. A step accumulates the gradients of "
        "several if it has more. Only translation-ranking depends on it.",
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-4, description="The learning rate at the end of the warm-up."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        default=100, description="Steps in which the learning rate rises from 0."
    )
    decay: Literal["linear", "inverse-sqrt", "constant"] = Field(
        default="linear",
        description="How the learning rate falls after the warm-up: to 0 at the last step (linear), by the square root "
        "of the step (inverse-sqrt), or not at all (constant).",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=0.01, description="Weight decay of AdamW.")
    max_grad_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=1.0, description="Gradients with a larger norm are scaled down to it. null for no limit."
    )
    average: Share | None = Field(
        default=None,
        description="Train a moving average of the weights, too, which keeps this share in each step, such as 0.999; "
        "the average is evaluated and written.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="Seed of everything that is random.")
    evaluate_every: Count = Field(default=200, description="Steps between two evaluations of the rows in dev.")
    patience: Count | None = Field(
        default=None,
        description="End early after this many evaluations without a lower loss, summed over the objectives with rows "
        "in dev. The weights of the lowest loss are written.",
    )
    save_every_s: Annotated[float, Field(gt=0)] = Field(
        default=120.0, description="Seconds between two saved states, with which a killed training resumes."
    )


class TrainingOutputSettings(Settings):
    """Where the checkpoint is written."""

    path: Url = Field(
        description="Directory of the output, or its URL in an object store: model has the checkpoint, heads the heads."
    )
    weights: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32", description="Number type of the weights that are written at the end."
    )
    tensorboard: bool = Field(
        default=False,
        description="Write the curves of the report as event files, too, with each saved state: tensorboard --logdir "
        "OUT/tensorboard shows them. Needs xlm-batch[tensorboard].",
    )


class TrainingPolicySettings(Settings):
    """What to do with rows that cannot be used."""

    unknown_lang: Literal["reject", "neutral"] = Field(
        default="reject",
        description="What to do with rows whose language is not in the checkpoint: leave them out, or train without a "
        "language (neutral).",
    )
    max_rejected: Share = Field(
        default=0.01, description="Maximum share of rows that cannot be used, of each objective. The training stops "
        "before its first step if there are more."
    )  # fmt: skip


class TrainingComputeSettings(Settings):
    """Where the training runs. No setting affects the loss, up to rounding."""

    address: NonEmptyStr | None = Field(default=None, description="As in other jobs: local, auto, or HOST:PORT.")
    workers: Count = Field(default=1, description="Number of training processes, each with the same share of a step.")
    gpus_per_worker: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Number of GPUs of each worker. On a cluster without GPUs, workers train on the CPU."
    )
    tokenizers: AutoOrCount = Field(default="auto", description="Number of tokenizer processes.")
    object_store_mb: Annotated[int, Field(ge=80)] | None = Field(
        default=None, description="Size of Ray's object store in MB, if the job starts Ray. By default Ray chooses it."
    )
