"""text-generation: the continuation of each row's text by a causal language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipelines.errors import FatalError
from pipelines.results import compare_values, required
from pipelines.settings import Count
from pipelines.tasks.language_modeling.language_model import LanguageModelTask
from pipelines.tasks.task import HeadTaskSettings
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.results import CompareFields
    from pipelines.rows import Sequences
    from pipelines.storage import StoreSettings
    from pipelines.tasks.model import Pass
    from pipelines.tasks.task import Collector
    from xlm_core import XLMConfig


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

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> TextGenerationTask:
        """See `TaskSettings`. The trunk must be a causal model."""
        return TextGenerationTask(self, trunk, self.read_head_config("language-modeling", head_folder, trunk))


class TextGenerationTask(LanguageModelTask):
    """The task of `TextGeneration`. It runs the trunk itself, once for each new token."""

    reads_pass = False

    def __init__(self, settings: TextGeneration, trunk: XLMConfig, head: XLMConfig):
        super().__init__(settings, trunk, head)
        if not trunk.causal:
            raise FatalError(
                "text-generation: the model is masked and cannot continue a text; use a causal checkpoint, or set "
                "model.objective to causal if the checkpoint was trained that way"
            )
        self.settings = settings

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        return [required(self.settings.columns[0], pa.string())]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _TextGenerationCollector(self, shard)


class _TextGenerationCollector:
    def __init__(self, task: TextGenerationTask, shard: Sequences):
        self._task, self._shard = task, shard

    def add(self, step: Pass) -> None:
        raise AssertionError("text-generation reads no shared forward pass")

    def columns(self) -> list[pa.Array]:
        from xlm_core import GenerationSettings, generate

        shard, settings, model = self._shard, self._task.settings, self._task.model
        mask_token_id = self._task.trunk_config.mask_token_id
        assert mask_token_id is not None
        in_prompt = np.ones(len(shard.input_ids), np.bool_)
        in_prompt[shard.cu_seqlens[1:] - 1] = False  # a prompt has no end token
        ids, offsets = generate(
            model.trunk,
            self._task.head,
            shard.input_ids[in_prompt],
            cumulative_lengths(shard.lengths - 1),
            shard.langs,
            GenerationSettings(
                max_new_tokens=settings.max_new_tokens,
                mask_token_id=mask_token_id,
                eos_token_ids=(model.tokenizer.sep_token_id,),
                do_sample=settings.sample,
                temperature=settings.temperature,
                top_k=settings.top_k or 0,
                top_p=settings.top_p,
                seed=settings.seed,
            ),
            max_tokens=model.own_pass_tokens,
        )
        texts = [
            model.tokenizer.decode(ids[start:end].tolist(), skip_special_tokens=True)
            for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
        return [pa.array(texts, pa.string())]
