"""The objectives of a training job: what is learned, and from which rows."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Tag, field_validator

from pipelines.job import ColumnName, DetectedLang, FixedLang, InputSettings
from pipelines.settings import Count, KindSettings, Settings, one_of, union_of_kinds
from pipelines.storage import Url
from pipelines.training_job.sections import Share
from xlm_core.checkpoint import HeadKind

# The kinds of heads of the objectives whose settings do not decide it.
_HEAD_KINDS: dict[str, HeadKind] = {
    "text-classification": "sequence-classification",
    "token-classification": "token-classification",
    "multiple-choice": "multiple-choice",
}


class DevSettings(Settings):
    """Rows that are held out, with which the objective is evaluated during the training."""

    path: Url | None = Field(default=None, description="Their files, as in input.path. By default those of the input.")
    filter: str | None = Field(
        default=None, description="Condition that they must meet, as in input.filter, such as split == 'dev'."
    )


class ObjectiveSettings(KindSettings):
    """The settings of one objective.

    Attributes:
        num_texts: the smallest and the largest number of columns in `input.text`; None for no limit.
        label_columns: names of the settings that name columns with labels.
        needs_offsets: whether labels refer to words or characters of the text.
        reads_choices: whether the texts of a row are a premise and choices.
        is_translation: whether the second text is in a language of its own.
        trains_head: whether it trains a head of its own, which gets the objective's name.
    """

    num_texts: ClassVar[tuple[int, int | None]] = (1, 2)
    label_columns: ClassVar[tuple[str, ...]] = ()
    needs_offsets: ClassVar[bool] = False
    reads_choices: ClassVar[bool] = False
    is_translation: ClassVar[bool] = False
    trains_head: ClassVar[bool] = True

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$",
        description="Name of the objective in messages and reports, and of the directory of its head. By default the "
        "kind of the objective.",
    )
    input: InputSettings = Field(description="The rows to learn from, as in the section input of other jobs.")
    dev: DevSettings | None = Field(
        default=None, description="Rows that are held out to evaluate the objective. They must not be in the input."
    )
    weight: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="How many steps train the objective, relative to the other objectives."
    )

    tokens_per_step: Count | None = Field(
        default=None, description="Like training.tokens_per_step, which is the default, for steps of this objective."
    )

    @field_validator("input")
    @classmethod
    def _check_input(cls, value: InputSettings) -> InputSettings:
        low, high = cls.num_texts
        number = len(value.text_columns)
        if not low <= number <= (high or number):
            expected = f"{low}" if low == high else f"at least {low}" if high is None else f"{low} or {high}"
            raise ValueError(f"text has {number} columns, but {cls.kind} needs {expected}")
        if isinstance(value.lang, DetectedLang):
            raise ValueError(
                "lang: a training does not detect languages; name a column, such as detected_lang of a job that does"
            )
        if value.keep:
            raise ValueError("keep has no effect in a training job; remove it")
        return value

    @property
    def title(self) -> str:
        """The name of the objective."""
        return self.name or self.kind

    @property
    def columns(self) -> list[str]:
        """The input columns with labels."""
        return [column for name in self.label_columns if (column := getattr(self, name)) is not None]


class SplitSettings(ObjectiveSettings):
    """An objective that may split tokens."""

    bpe_dropout: Share = Field(
        default=0.0,
        description="Probability of splitting each token into the two parts that byte-pair encoding merged, and these "
        "again, differently in each epoch. With little data, 0.1 makes rare words easier to learn.",
    )


class SampledSettings(ObjectiveSettings):
    """An objective that samples languages."""

    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.7,
        description="Languages are sampled with the probability of their share of the rows to the power of alpha: 1 "
        "as they occur, 0 all equally often.",
    )


class CausalSettings(SampledSettings):
    """Predict each token from those before it. Cannot be combined with other objectives."""

    kind: ClassVar[str] = "causal-language-modeling"
    num_texts: ClassVar[tuple[int, int | None]] = (1, 1)
    trains_head: ClassVar[bool] = False

    stream_tokens: Annotated[int, Field(ge=3)] | None = Field(
        default=256,
        description="Length of the streams of consecutive text, across rows, that the model sees. null makes each row "
        "a sequence of its own.",
    )


class MaskedSettings(CausalSettings):
    """Predict masked tokens."""

    kind: ClassVar[str] = "masked-language-modeling"

    mask_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15,
        description="Share of the tokens that are predicted. Of these, 80 % are masked, 10 % replaced by a random "
        "token, and 10 % left as they are.",
    )
    frequency_exponent: Annotated[float, Field(ge=0)] = Field(
        default=0.5,
        description="Tokens are chosen with weights of their frequency to the power of minus this number: 0 all alike.",
    )


class TranslatedSettings(SampledSettings, SplitSettings):
    """An objective that reads pairs of a text and its translation."""

    num_texts: ClassVar[tuple[int, int | None]] = (2, 2)
    is_translation: ClassVar[bool] = True
    trains_head: ClassVar[bool] = False

    second_lang: Annotated[
        Annotated[ColumnName, Tag("column")] | Annotated[FixedLang, Tag("fixed")],
        one_of(
            "a column or {fixed: CODE}",
            lambda value: "column" if isinstance(value, str) else "fixed" if value is not None else None,
            text=True,
        ),
    ] = Field(description="The language of the second text of each pair: a column, or {fixed: CODE}.")

    @property
    def columns(self) -> list[str]:
        """The input columns other than those of the input: that with the language of the second text."""
        return [self.second_lang] if isinstance(self.second_lang, str) else []


class TranslationSettings(TranslatedSettings):
    """Predict masked tokens of a text and its translation, which are one sequence."""

    kind: ClassVar[str] = "translation-language-modeling"

    mask_share: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.15, description="As in masked-language-modeling.")
    frequency_exponent: Annotated[float, Field(ge=0)] = Field(
        default=0.5, description="As in masked-language-modeling."
    )


class RankingSettings(TranslatedSettings):
    """Learn embeddings that are close for translations: each text is ranked against all others of its batch."""

    kind: ClassVar[str] = "translation-ranking"

    pooling: Literal["first", "mean", "last", "max"] = Field(
        default="mean", description="How token vectors are pooled, as in the task feature-extraction."
    )
    layer: int = Field(default=-1, description="The layer whose output is pooled; -1 is the last, 0 the embeddings.")
    temperature: Annotated[float, Field(gt=0)] = Field(default=0.05, description="By which cosines are divided.")
    margin: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="By how much the cosine of a translation must exceed those of other texts."
    )


class HeadSettings(ObjectiveSettings):
    """An objective that trains a head."""

    head: Url | None = Field(
        default=None, description="Directory or URL of a head to train further. By default a new one is trained."
    )

    @property
    def head_kind(self) -> HeadKind:
        """The kind of the head."""
        return _HEAD_KINDS[self.kind]


class LabelSettings(HeadSettings, SplitSettings):
    """An objective that trains a head with labels."""

    label_columns: ClassVar[tuple[str, ...]] = ("label",)

    label: ColumnName = Field(default="label", description="The column with the labels.")
    label_smoothing: Share = Field(
        default=0.0, description="Share of the probability of the right label that is given to all labels equally."
    )


class SequenceSettings(LabelSettings):
    """Classify rows: one label, several, or values of a regression."""

    kind: ClassVar[str] = "text-classification"

    problem: Literal["auto", "single-label", "multi-label", "regression"] = Field(
        default="auto",
        description="auto follows the type of the column: numbers with a decimal point are a regression, lists several "
        "labels, anything else is one label.",
    )
    pooling: Literal["first", "mean", "last"] = Field(
        default="first", description="How token vectors are pooled, in a new head."
    )
    layer: int = Field(
        default=-1,
        description="The layer whose output is pooled, in a new head; -1 is the last, 0 the embeddings. A lower layer "
        "is faster, also in jobs, but the reference cannot use such a head.",
    )


class TokenSettings(LabelSettings):
    """Label words. `input.text` is a column of word lists, and the labels are a list of the same length."""

    kind: ClassVar[str] = "token-classification"
    num_texts: ClassVar[tuple[int, int | None]] = (1, 1)
    needs_offsets: ClassVar[bool] = True

    label: ColumnName = Field(default="labels", description="The column with the list of labels of each row.")


class ChoiceSettings(HeadSettings):
    """Select one of several choices. `input.text` is [premise, choice, choice …], or [premise, column of lists]."""

    kind: ClassVar[str] = "multiple-choice"
    num_texts: ClassVar[tuple[int, int | None]] = (2, None)
    label_columns: ClassVar[tuple[str, ...]] = ("label",)
    reads_choices: ClassVar[bool] = True

    label: ColumnName = Field(default="label", description="The column with the number of the right choice, from 0.")


class AnswerSettings(HeadSettings):
    """Find the answer to a question in a context. `input.text` is [question, context]."""

    kind: ClassVar[str] = "question-answering"
    num_texts: ClassVar[tuple[int, int | None]] = (2, 2)
    label_columns: ClassVar[tuple[str, ...]] = ("answer", "answer_start")
    needs_offsets: ClassVar[bool] = True

    answer: ColumnName = Field(
        default="answer_text", description="The column with the answer; null or empty if there is none."
    )
    answer_start: ColumnName = Field(
        default="answer_start", description="The column with the position of its first character in the context."
    )
    beams: bool = Field(
        default=False, description="Train the head with beams, which scores whether there is an answer, too."
    )

    @property
    def head_kind(self) -> HeadKind:
        """The kind of the head."""
        return "question-answering" if self.beams else "question-answering-simple"


OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    settings.kind: settings
    for settings in (
        MaskedSettings,
        CausalSettings,
        TranslationSettings,
        RankingSettings,
        SequenceSettings,
        TokenSettings,
        ChoiceSettings,
        AnswerSettings,
    )
}

if TYPE_CHECKING:
    AnyObjective = ObjectiveSettings
else:
    AnyObjective = union_of_kinds(OBJECTIVES, "OBJECTIVE")
