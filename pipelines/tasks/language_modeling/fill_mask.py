"""fill-mask: the most likely tokens for each masked position of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.results import (
    MAX_ITEMS,
    Labels,
    Numbers,
    compare_best_of_each,
    list_column,
    list_of,
    render_items,
    render_text,
    required,
    struct_column,
)
from pipelines.settings import Count, NonEmptyStr
from pipelines.tasks.language_modeling.language_model import LanguageModelTask
from pipelines.tasks.task import HeadTaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, FilledMasks

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
        from xlm_core.inference import check_masked

        self.read_head_config("language-modeling", head_folder, trunk)
        check_masked(trunk)
        return FillMaskTask(self, trunk)

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`."""
        (name,) = self.columns
        fills = [render_items(_render_token(token) for token in tokens) for tokens in row[name][:MAX_ITEMS]]
        yield name, render_items(fills, " | ")

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`. Of each mask, the best token counts."""
        (name,) = self.columns
        best = [(i, fill[0]) for i, fills in enumerate(rows[name].to_pylist()) for fill in fills if fill]
        found = np.array([i for i, _ in best], np.int64)
        yield Labels(f"{name}.token", found, [token["token"] for _, token in best])
        yield Numbers(f"{name}.score", found, np.array([token["score"] for _, token in best], np.float64))


def _render_token(token: dict[str, Any]) -> str:
    return f"{render_text(token['token'])} {token['score']:.2f}"


class FillMaskTask(LanguageModelTask["FilledMasks"]):
    """The task of `FillMask`."""

    def __init__(self, settings: FillMask, trunk: XLMConfig):
        self.column = settings.columns[0]
        self.top_k = min(settings.top_k, trunk.vocab_size)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        metadata = {"lists": "one for each mask that was not cut off, best token first"}
        return [required(self.column, list_of(list_of(_TOKEN)), metadata)]

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[FilledMasks]:
        """See `Task`."""
        from xlm_core.inference import MaskCollector

        return MaskCollector(sequences, self.model, self.head, self.top_k)

    def columns(self, result: FilledMasks, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        num_masks, top_k = result.scores.shape
        items = struct_column(_TOKEN, token=result.tokens, score=result.scores.reshape(-1))
        per_mask = list_column(list_of(_TOKEN), np.arange(num_masks + 1) * top_k, items)
        return [list_column(self.fields[0].type, result.row_offsets, per_mask)]
