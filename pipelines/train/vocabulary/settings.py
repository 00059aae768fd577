"""The settings of a learned vocabulary."""

from typing import Annotated

from pydantic import Field

from pipelines.job import InputSettings
from pipelines.settings import Count, Settings


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
