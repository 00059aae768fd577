"""feature-extraction: one vector for each row, or for each window of a row.

Shapes: N rows of a shard, D dimensions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, Tag, model_validator

from pipelines.results import (
    Ranges,
    Vectors,
    compare_vectors,
    count_vectors,
    first_vectors,
    list_column,
    list_of,
    render_bits,
    render_vector,
    render_vector_list,
    required,
    verify_unit_length,
)
from pipelines.settings import Count, one_of
from pipelines.storage import Url
from pipelines.tasks.task import Task, TaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.results import CompareFields, ResultFindings, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, Model

# Only catches typos: XLM models have 6 to 24 layers, and `prepare` checks the checkpoint's own number.
LayerIndex = Annotated[int, Field(ge=-100, le=100)]

_NUMBER_TYPES = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}

# How far rounding can move a vector's norm from 1: half a step of each number, and for float32 the division before it.
_NORM_TOLERANCE = {"float32": 1e-5, "float16": 1e-3}


class FeatureExtraction(TaskSettings):
    """Compute a vector for each row: a column `embedding`, or `embeddings` with one vector for each window."""

    kind: ClassVar[str] = "feature-extraction"

    pooling: Literal["first", "mean", "last", "max"] = Field(
        default="mean", description="How the token vectors of a row are combined into one vector."
    )
    layer: Annotated[
        Annotated[LayerIndex, Tag("layer")] | Annotated[list[LayerIndex], Field(min_length=1), Tag("list")],
        one_of(
            "a layer such as -1, or a list of layers",
            lambda value: {int: "layer", list: "list"}.get(type(value)),
        ),
    ] = Field(
        default=-1,
        description="Layer whose output is used, or a list of layers to average; 0 is the embeddings, -1 the last one.",
    )
    truncate_dim: Count | None = Field(
        default=None, description="Keep only the first dimensions of a vector, before it is normalized."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    dtype: Literal["float32", "float16", "int8", "binary"] = Field(
        default="float32",
        description="Number type of the column. Some readers do not support float16. binary stores only the sign of "
        "each number, 8 to a byte.",
    )
    calibration: Url | None = Field(
        default=None,
        description="Required for int8: the output of a run over a sample of the corpus with float32. Its smallest and "
        "largest value of each dimension become the range of int8.",
    )
    windows: Literal["mean", "each"] = Field(
        default="mean",
        description="For rows with several windows: write the mean of their vectors (mean) or one vector each (each).",
    )

    @model_validator(mode="after")
    def _check_calibration(self) -> Self:
        if (self.dtype == "int8") != (self.calibration is not None):
            raise ValueError(
                "calibration is required for int8, and not allowed otherwise; run a sample of the corpus with float32 "
                "first, and set calibration to its output.path"
            )
        return self

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {"embedding" if self.windows == "mean" else "embeddings": compare_vectors}

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> FeatureExtractionTask:
        """See `TaskSettings`. There is no head."""
        return FeatureExtractionTask(self, trunk, stores)

    def verify(self, rows: pa.Table, texts: Sequence[str] | None, findings: ResultFindings) -> None:
        """See `TaskSettings`. Normalized floats must have length 1."""
        super().verify(rows, texts, findings)
        (name,) = self.columns
        column = rows[name].combine_chunks()
        findings.num_vectors += count_vectors(column)
        if self.normalize and self.dtype in _NORM_TOLERANCE:
            verify_unit_length(findings, name, column, _NORM_TOLERANCE[self.dtype])

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`."""
        (name,) = self.columns
        if self.windows == "mean":
            yield name, self._render_vector(row[name])
        else:
            yield name, render_vector_list([self._render_vector(vector) for vector in row[name]])

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`. Of several windows, the first one is shown."""
        (name,) = self.columns
        yield Vectors(name, first_vectors(rows.schema.field(name), rows[name].chunk(0)))

    def _render_vector(self, vector: list[Any]) -> str:
        if self.dtype == "binary":
            return render_bits(vector)
        return render_vector(vector, with_norm=self.dtype != "int8")  # int8 are steps of a range


class FeatureExtractionTask(Task["NDArray[np.float32]"]):
    """The task of `FeatureExtraction`."""

    def __init__(self, settings: FeatureExtraction, trunk: XLMConfig, stores: Sequence[StoreSettings] = ()):
        from xlm_core.inference import check_embedding

        self.settings = settings
        self.layers = [settings.layer] if isinstance(settings.layer, int) else settings.layer
        self.dim = check_embedding(self.layers, settings.truncate_dim, trunk)
        self._metadata = {
            "pooling": settings.pooling,
            "normalized": str(settings.normalize).lower(),
            "layers": json.dumps(self.layers),
            "dim": str(self.dim),
        }
        self._ranges: Ranges | None = None
        if settings.calibration is not None:
            self._ranges = Ranges.read(settings.calibration, stores, settings.columns[0], self.dim, self._metadata)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        settings = self.settings
        size = -(-self.dim // 8) if settings.dtype == "binary" else self.dim
        data_type: pa.DataType = pa.list_(required("item", _NUMBER_TYPES[settings.dtype]), size)
        metadata = dict(self._metadata)
        if settings.dtype == "binary":
            metadata["bits"] = "1 where the number is above 0; the first dimension is the highest bit of the first byte"
        if self._ranges is not None:
            metadata["int8_low"] = json.dumps([float(value) for value in self._ranges.low])
            metadata["int8_high"] = json.dumps([float(value) for value in self._ranges.high])
            metadata["int8"] = "round((x - low) / (high - low) * 255 - 128)"
        if settings.windows == "each":
            data_type = list_of(data_type)
        return [required(settings.columns[0], data_type, metadata)]

    def load(self, model: Model, head_folder: Path) -> None:
        """Load nothing: the task has no head."""

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[NDArray[np.float32]]:
        """See `Task`."""
        from xlm_core.inference import EmbeddingCollector

        settings = self.settings
        return EmbeddingCollector(
            sequences,
            pooling=settings.pooling,
            layers=self.layers,
            dim=self.dim,
            normalize=settings.normalize,
            each_window=settings.windows == "each",
        )

    def columns(self, result: NDArray[np.float32], sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        data_type, each_window = self.fields[0].type, self.settings.windows == "each"
        numbers = pa.array(self.encode(result).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(numbers, type=data_type.value_type if each_window else data_type)
        return [list_column(data_type, sequences.row_offsets, column) if each_window else column]

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Convert vectors [N, D] to the number type of the column."""
        if self.settings.dtype == "binary":
            return np.packbits(vectors > 0, axis=1)
        if self._ranges is not None:
            return self._ranges.quantize(vectors)
        return vectors.astype(np.float16 if self.settings.dtype == "float16" else np.float32)
