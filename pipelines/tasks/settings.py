"""The tasks of a job as their settings: what each can be told, and the columns it adds to the output."""

from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, Tag, model_validator

from pipelines.settings import Count, NonEmptyStr, one_of
from pipelines.storage.options import Url
from pipelines.tasks.task_spec import HeadTaskSettings, TaskSettings

# XLM's trunks have 6 to 24 layers; this only keeps a mistyped number from reaching the checkpoint's own check.
LayerIndex = Annotated[int, Field(ge=-100, le=100)]


class FeatureExtraction(TaskSettings):
    """Embed each row: a column `embedding`, or `embeddings` with one vector per window."""

    kind: ClassVar[str] = "feature-extraction"

    pooling: Literal["first", "mean", "last", "max"] = Field(
        default="mean", description="How the token vectors of a row become one vector."
    )
    layer: Annotated[
        Annotated[LayerIndex, Tag("layer")] | Annotated[list[LayerIndex], Field(min_length=1), Tag("list")],
        one_of(
            "a layer such as -1, or a list of layers",
            lambda value: {int: "layer", list: "list"}.get(type(value)),
        ),
    ] = Field(default=-1, description="Layer to take, or several to average; 0 is below the first, -1 the last.")
    truncate_dim: Count | None = Field(
        default=None, description="Keep the first so many dimensions, before the vector is scaled."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    dtype: Literal["float32", "float16", "int8", "binary"] = Field(
        default="float32",
        description="Type of the numbers written; some readers lack float16. binary packs the signs, eight to a byte.",
    )
    calibration: Url | None = Field(
        default=None,
        description="For int8: an output with float embeddings of a sample, whose range in each dimension is used.",
    )
    windows: Literal["mean", "each"] = Field(
        default="mean", description="Of a row of several windows: one mean vector, or one vector for each."
    )

    @model_validator(mode="after")
    def _check_calibration(self) -> Self:
        if (self.dtype == "int8") != (self.calibration is not None):
            raise ValueError(
                "int8 needs calibration, and nothing else does: run a sample of the corpus with float32 first, and "
                "name its output.path"
            )
        return self

    def _own_columns(self) -> list[str]:
        return ["embedding" if self.windows == "mean" else "embeddings"]


class TextClassification(HeadTaskSettings):
    """Classify each row.

    Columns `label` and `score`, on request also `top` and `scores`; with a head for several labels at once `labels`, on
    request `scores`; with a regression head `values`.
    """

    kind: ClassVar[str] = "text-classification"

    top_k: Count | None = Field(
        default=None, description="Write the best so many labels with their scores, as column top."
    )
    scores: bool = Field(default=False, description="Write the scores of all labels, as column scores.")
    problem: Literal["single-label", "multi-label", "regression"] = Field(
        default="single-label", description="What the head was trained for: one label, any number of them, or values."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Of several labels at once, the least score of one that is written."
    )

    @model_validator(mode="after")
    def _check_top(self) -> Self:
        if self.problem == "regression" and (self.top_k or self.scores):
            raise ValueError("a regression has values, not labels; leave out top_k and scores")
        if self.problem == "multi-label" and self.top_k:
            raise ValueError("with several labels at once threshold chooses them; leave out top_k")
        if self.problem != "multi-label" and self.threshold != 0.5:
            raise ValueError(
                "threshold chooses among several labels at once; set problem to multi-label, or leave it out"
            )
        return self

    def _own_columns(self) -> list[str]:
        scores = ["scores"] if self.scores else []
        match self.problem:
            case "single-label":
                return ["label", "score", *(["top"] if self.top_k else []), *scores]
            case "multi-label":
                return ["labels", *scores]
            case "regression":
                return ["values"]


class TokenClassification(HeadTaskSettings):
    """Label the words of each row, of a pair those of the first text: a column `words`, or `entities`."""

    kind: ClassVar[str] = "token-classification"
    needs_offsets: ClassVar[bool] = True

    aggregate: Literal["word", "entity"] = Field(
        default="word", description="A label for each word (column words), or spans of several words (column entities)."
    )
    pieces: Literal["first", "last", "max", "mean"] = Field(
        default="first",
        description="Which of a word's pieces says its label: the first, the last, the surest, or their mean.",
    )

    def _own_columns(self) -> list[str]:
        return ["words" if self.aggregate == "word" else "entities"]


class QuestionAnswering(HeadTaskSettings):
    """Answer each row's question, input.text [question, context]: columns `answers` and `no_answer_score`."""

    kind: ClassVar[str] = "question-answering"
    needs_offsets: ClassVar[bool] = True

    top_k: Count = Field(default=1, description="Most answers of a row, best first.")
    max_answer_tokens: Count = Field(default=30, description="Most tokens of an answer.")

    def _own_columns(self) -> list[str]:
        return ["answers", "no_answer_score"]


class MultipleChoice(HeadTaskSettings):
    """Choose among each row's choices, input.text [premise, choice, choice …]: columns `choice` and `scores`.

    The choices are columns of text, or one column of lists. `choice` counts from 0.
    """

    kind: ClassVar[str] = "multiple-choice"

    def _own_columns(self) -> list[str]:
        return ["choice", "scores"]


class FillMask(HeadTaskSettings):
    """Say what may stand at each mask of a row: a column `fills`, one list of tokens for each mask that was read."""

    kind: ClassVar[str] = "fill-mask"
    needs_offsets: ClassVar[bool] = True

    top_k: Count = Field(default=5, description="Most tokens for a mask, best first.")
    mask: NonEmptyStr = Field(default="<mask>", description="What marks a place in the text.")

    def _own_columns(self) -> list[str]:
        return ["fills"]


class LmScoring(HeadTaskSettings):
    """Score each row as language: columns `num_tokens`, `log_likelihood` (natural logarithm) and `perplexity`.

    A causal model scores each token after those before it; a masked one each token among all others, masked in turn.
    The text's own tokens count, special ones do not.
    """

    kind: ClassVar[str] = "lm-scoring"
    needs_offsets: ClassVar[bool] = True

    def _own_columns(self) -> list[str]:
        return ["num_tokens", "log_likelihood", "perplexity"]


class TextGeneration(HeadTaskSettings):
    """Continue each row with a causal model: a column `generated`."""

    kind: ClassVar[str] = "text-generation"

    max_new_tokens: Count = Field(default=64, description="Most tokens to add.")
    sample: bool = Field(default=False, description="Draw tokens by their probability; else the likeliest is taken.")
    temperature: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="When drawing: below 1 sharpens the probabilities, above 1 flattens them."
    )
    top_k: Count | None = Field(default=None, description="When drawing: only from the so many likeliest.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="When drawing: only from the likeliest that together have this probability."
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="When drawing: the same seed gives the same text for the same row."
    )

    @model_validator(mode="after")
    def _check_sample(self) -> Self:
        if not self.sample and (self.temperature != 1.0 or self.top_k or self.top_p != 1.0 or self.seed):
            raise ValueError("temperature, top_k, top_p and seed are for drawing; set sample to true")
        return self

    def _own_columns(self) -> list[str]:
        return ["generated"]


TASKS: dict[str, type[TaskSettings]] = {
    task.kind: task
    for task in (
        FeatureExtraction,
        TextClassification,
        TokenClassification,
        QuestionAnswering,
        MultipleChoice,
        FillMask,
        LmScoring,
        TextGeneration,
    )
}


def _task_kind(value: object) -> str | None:
    if isinstance(value, TaskSettings):
        return value.kind
    if isinstance(value, dict) and len(cast("dict[Any, Any]", value)) == 1:
        value = next(iter(cast("dict[Any, Any]", value)))
    return value if isinstance(value, str) and value in TASKS else None


Task = Annotated[
    Annotated[FeatureExtraction, Tag("feature-extraction")]
    | Annotated[TextClassification, Tag("text-classification")]
    | Annotated[TokenClassification, Tag("token-classification")]
    | Annotated[QuestionAnswering, Tag("question-answering")]
    | Annotated[MultipleChoice, Tag("multiple-choice")]
    | Annotated[FillMask, Tag("fill-mask")]
    | Annotated[LmScoring, Tag("lm-scoring")]
    | Annotated[TextGeneration, Tag("text-generation")],
    one_of(f"one of {', '.join(TASKS)}, alone or as TASK: {{settings}}", _task_kind),
]
