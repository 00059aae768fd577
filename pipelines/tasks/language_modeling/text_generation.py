"""text-generation: the continuation of each row's text by a causal language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.results import compare_values, numbers_of, required
from pipelines.settings import Count
from pipelines.tasks.language_modeling.language_model import LanguageModelTask
from pipelines.tasks.task import HeadTaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector


class TextGeneration(HeadTaskSettings):
    """Continue each row's text with a causal model. Writes a column `generated`."""

    kind: ClassVar[str] = "text-generation"
    supports_windows: ClassVar[bool] = False

    max_new_tokens: Count = Field(default=64, description="Maximum number of tokens to generate.")
    sample: bool = Field(
        default=False, description="Draw each token by its probability. By default the most likely token is taken."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="With sample: below 1 sharpens the probabilities, above 1 flattens them."
    )
    top_k: Count | None = Field(default=None, description="With sample: draw from this many of the likeliest tokens.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="With sample: draw from the likeliest tokens whose probabilities add up to this value.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="With sample: the same seed gives the same text for the same row."
    )

    @model_validator(mode="after")
    def _check_sample(self) -> Self:
        if not self.sample and (self.temperature != 1.0 or self.top_k or self.top_p != 1.0 or self.seed):
            raise ValueError("temperature, top_k, top_p and seed need sampling; set sample to true")
        return self

    @property
    def num_new_tokens(self) -> int:
        """See `TaskSettings`."""
        return self.max_new_tokens

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {"generated": compare_values("the text")}

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`."""
        (name,) = self.columns
        lengths = [len(text) for text in rows[name].to_pylist()]
        yield numbers_of(f"characters of {name}", pa.array(lengths, pa.int64()))

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> TextGenerationTask:
        """See `TaskSettings`. The trunk must be a causal model."""
        from xlm_core.inference import check_causal

        self.read_head_config("language-modeling", head_folder, trunk)
        check_causal(trunk)
        return TextGenerationTask(self)


class TextGenerationTask(LanguageModelTask["list[str]"]):
    """The task of `TextGeneration`."""

    def __init__(self, settings: TextGeneration):
        self.settings = settings

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        return [required(self.settings.columns[0], pa.string())]

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[list[str]]:
        """See `Task`."""
        from xlm_core.inference import ContinuationCollector, Sampling

        settings = self.settings
        sampling = Sampling(
            max_new_tokens=settings.max_new_tokens,
            sample=settings.sample,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        return ContinuationCollector(sequences, self.model, self.head, sampling)

    def columns(self, result: list[str], sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        return [pa.array(result, pa.string())]
