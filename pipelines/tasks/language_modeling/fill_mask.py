"""fill-mask: the most likely tokens for each masked position of a row.

Shapes: T tokens of a shard, M masks, K tokens predicted for each mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.errors import FatalError
from pipelines.results import (
    MAX_ITEMS,
    compare_best_of_each,
    list_column,
    list_of,
    render_items,
    render_text,
    required,
    struct_column,
)
from pipelines.settings import Count, NonEmptyStr
from pipelines.tasks.language_modeling.language_model import LanguageModelTask, mark_text_tokens
from pipelines.tasks.task import HeadTaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields
    from pipelines.rows import Sequences
    from pipelines.storage import StoreSettings
    from pipelines.tasks.model import Pass
    from pipelines.tasks.task import Collector
    from xlm_core import XLMConfig

_TOKEN = pa.struct([required("token", pa.string()), required("score", pa.float32())])


class FillMask(HeadTaskSettings):
    """Predict the tokens at each mask of a row. Writes a column `fills`, with a list of tokens for each mask."""

    kind: ClassVar[str] = "fill-mask"
    needs_offsets: ClassVar[bool] = True

    top_k: Count = Field(default=5, description="Maximum number of tokens for each mask. The best comes first.")
    mask: NonEmptyStr = Field(default="<mask>", description="String that marks a masked position in the text.")

    @property
    def mask_marker(self) -> str | None:
        """See `TaskSettings`."""
        return self.mask

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {"fills": compare_best_of_each("the best token of each mask")}

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> FillMaskTask:
        """See `TaskSettings`. The trunk must be a masked model."""
        return FillMaskTask(self, trunk, self.read_head_config("language-modeling", head_folder, trunk))

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`."""
        (name,) = self.columns
        fills = [render_items(_render_token(token) for token in tokens) for tokens in row[name][:MAX_ITEMS]]
        yield name, render_items(fills, " | ")


def _render_token(token: dict[str, Any]) -> str:
    return f"{render_text(token['token'])} {token['score']:.2f}"


class FillMaskTask(LanguageModelTask):
    """The task of `FillMask`."""

    def __init__(self, settings: FillMask, trunk: XLMConfig, head: XLMConfig):
        super().__init__(settings, trunk, head)
        if trunk.causal:
            raise FatalError(
                "fill-mask: the model is causal and cannot use the text after a mask; use a masked checkpoint, or set "
                "model.objective to masked if the checkpoint was trained that way"
            )
        self.column = settings.columns[0]
        self.top_k = min(settings.top_k, trunk.vocab_size)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        metadata = {"lists": "one for each mask that was not cut off, best token first"}
        return [required(self.column, list_of(list_of(_TOKEN)), metadata)]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _FillMaskCollector(self, shard)


class _FillMaskCollector:
    def __init__(self, task: FillMaskTask, shard: Sequences):
        self._task, self._shard = task, shard
        is_mask = shard.input_ids == task.model.tokenizer.mask_token_id
        self._masks = np.flatnonzero(is_mask & mark_text_tokens(shard, causal=False))
        self._mask_of_token = np.full(len(shard.input_ids), -1)
        self._mask_of_token[self._masks] = np.arange(len(self._masks))
        self._ids_MK = np.empty((len(self._masks), task.top_k), np.int64)
        self._scores_MK = np.empty((len(self._masks), task.top_k), np.float32)

    def add(self, step: Pass) -> None:
        import torch

        mask_of_token = self._mask_of_token[step.tokens]
        positions = np.flatnonzero(mask_of_token >= 0)
        if len(positions):
            hidden = step.hidden_TD[torch.from_numpy(positions).to(step.hidden_TD.device)]
            scores, ids = self._task.head.top_k(hidden, self._task.top_k)
            masks = mask_of_token[positions]
            self._ids_MK[masks], self._scores_MK[masks] = ids.cpu().numpy(), scores.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        num_masks, top_k = self._ids_MK.shape
        subwords = self._task.model.tokenizer.convert_ids_to_tokens(self._ids_MK.reshape(-1).tolist())
        tokens = [subword.removesuffix("</w>") for subword in subwords]
        items = struct_column(_TOKEN, token=tokens, score=self._scores_MK.reshape(-1))
        per_mask = list_column(list_of(_TOKEN), np.arange(num_masks + 1) * top_k, items)
        row_of_mask = self._shard.row_of_token[self._masks]
        row_offsets = np.searchsorted(row_of_mask, np.arange(len(self._shard.rows) + 1))
        return [list_column(self._task.fields[0].type, row_offsets, per_mask)]
