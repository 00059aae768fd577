"""The settings of a job that learns a vocabulary."""

from typing import Annotated

from pydantic import Field

from pipelines.job import FixedLang, InputSettings, TokenizerSettings
from pipelines.settings import Count, JobName, NonEmptyStr, Settings
from pipelines.storage import StoreSettings, Url


class VocabularySettings(Settings):
    """A vocabulary of byte-pair encoding that is learned from texts."""

    input: InputSettings = Field(
        description="The texts, in one or several columns, and their languages. Its id and keep are not read."
    )
    vocab_size: Count = Field(
        default=30_000,
        description="Maximum number of tokens, with special tokens and characters. Fewer are learned if no more pairs "
        "of symbols occur min_count times. The released checkpoints have 30,145 to 200,000.",
    )
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="Weight of small languages: a language with the share p of all words counts as if its share were "
        "proportional to p to the power of alpha. 1 leaves the shares as they are, 0 makes them equal.",
    )
    min_count: Count = Field(
        default=2,
        description="Characters and pairs of symbols that occur less often are not in the vocabulary. In texts, such "
        "characters become unknown tokens.",
    )
    lowercase: bool = Field(
        default=True,
        description="Lower-case texts and remove accents, also wherever the checkpoint is used.",
    )


class VocabularyOutputSettings(Settings):
    """Where the vocabulary is written."""

    path: Url = Field(description="Directory of the output, or its URL; tokenizer in it has vocab.json and merges.txt.")


class VocabularyComputeSettings(Settings):
    """Where the job runs."""

    address: NonEmptyStr | None = Field(default=None, description="As in other jobs: local, auto, or HOST:PORT.")
    object_store_mb: Annotated[int, Field(ge=80)] | None = Field(
        default=None, description="Size of Ray's object store in MB, if the job starts Ray. By default Ray chooses it."
    )


class VocabularyJob(Settings):
    """A job that learns a vocabulary."""

    name: JobName = "xlm-vocabulary"
    vocabulary: VocabularySettings = Field(description="The texts, and the vocabulary that is learned from them.")
    tokenizer: TokenizerSettings = Field(
        default=TokenizerSettings(), description="How texts are segmented, as in other jobs."
    )
    storage: tuple[StoreSettings, ...] = Field(
        default=(), strict=False, description="Options of object stores, as in other jobs."
    )
    output: VocabularyOutputSettings = Field(description="Where the vocabulary is written.")
    compute: VocabularyComputeSettings = Field(default=VocabularyComputeSettings(), description="Where the job runs.")


VOCABULARY_SECTIONS: dict[str, type[Settings]] = {
    "vocabulary": VocabularySettings,
    "tokenizer": TokenizerSettings,
    "output": VocabularyOutputSettings,
    "compute": VocabularyComputeSettings,
}


def vocabulary_settings_at(path: tuple[str | int, ...]) -> type[Settings] | None:
    """Return the class of the settings at a path in a job that learns a vocabulary."""
    match path:
        case ():
            return VocabularyJob
        case ("storage", int()):
            return StoreSettings
        case ("vocabulary", "input"):
            return InputSettings
        case ("vocabulary", "input", "lang"):
            return FixedLang
        case (str(section),):
            return VOCABULARY_SECTIONS.get(section)
        case _:
            return None
