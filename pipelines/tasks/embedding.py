"""feature-extraction: one vector a row, or one for each of its windows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn import functional as F

from pipelines.errors import FatalError
from pipelines.storage import find_files, locate
from pipelines.tasks.task import Task, list_column, list_of, required
from xlm_core import POOLINGS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.job import FeatureExtraction
    from pipelines.sequences import Sequences
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig

_NUMBERS = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}


@dataclass(frozen=True)
class Ranges:
    """The smallest and largest value of each dimension, float32 [D]; 256 steps of int8 lie between them."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def read(cls, url: str, column: str, dim: int) -> Ranges:
        """Find the ranges of an earlier run's float embeddings.

        Raises:
            FatalError: there are none, or they are of another kind.
        """
        low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
        for file in find_files(url):
            location = locate(file.url)
            with location.fs.open_input_file(location.path) as source:
                parquet = pq.ParquetFile(source)
                found = parquet.schema_arrow.field(column).type if column in parquet.schema_arrow.names else None
                if (
                    found is None
                    or not pa.types.is_fixed_size_list(found)
                    or not pa.types.is_floating(found.value_type)
                    or found.list_size != dim
                ):
                    raise FatalError(
                        f"{file.url}: calibration needs a column {column} of {dim} floats, got {found or 'none'}; "
                        "name the output of a run with the same settings and dtype float32"
                    )
                for batch in parquet.iter_batches(columns=[column], batch_size=8192):
                    values = batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
                    if len(values):
                        low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
        if not np.isfinite(low).all() or not np.isfinite(high).all():
            raise FatalError(f"{url}: calibration found no finite embeddings; run a sample of the corpus first")
        return cls(low.astype(np.float32), high.astype(np.float32))

    def quantize(self, vectors: NDArray[np.float32]) -> NDArray[np.int8]:
        """Round to the nearest of the 256 steps; what lies outside the ranges gets the nearest end."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        return np.clip(np.rint((vectors - self.low) / span * 255 - 128), -128, 127).astype(np.int8)


class Embedding(Task):
    """See `FeatureExtraction`."""

    def __init__(self, spec: FeatureExtraction, config: XLMConfig):
        self.spec, self.pool = spec, POOLINGS[spec.pooling]
        layers = [spec.layer] if isinstance(spec.layer, int) else spec.layer
        for layer in layers:
            if not -config.n_layers - 1 <= layer <= config.n_layers:
                raise FatalError(
                    f"feature-extraction: layer {layer}; the checkpoint has {config.n_layers} layers, so 0 (below the "
                    f"first) to {config.n_layers}, or -1 (the last) to {-config.n_layers - 1}"
                )
        self.layers = layers
        self.wants_layers = layers != [-1] and layers != [config.n_layers]
        self.dim = spec.truncate_dim or config.emb_dim
        if self.dim > config.emb_dim:
            raise FatalError(
                f"feature-extraction: truncate_dim {self.dim}; the checkpoint's vectors have {config.emb_dim}"
            )
        self.ranges: Ranges | None = None
        if spec.calibration is not None:
            column = f"{spec.name}_embedding" if spec.name else "embedding"
            self.ranges = Ranges.read(spec.calibration, column, self.dim)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        spec = self.spec
        width = -(-self.dim // 8) if spec.dtype == "binary" else self.dim
        kind: pa.DataType = pa.list_(required("item", _NUMBERS[spec.dtype]), width)
        about = {
            "pooling": spec.pooling,
            "normalized": str(spec.normalize).lower(),
            "layers": json.dumps(self.layers),
            "dim": str(self.dim),
        }
        if spec.dtype == "binary":
            about["bits"] = "1 where the number is above 0; the first dimension is the highest bit of the first byte"
        if self.ranges is not None:
            about["int8_low"] = json.dumps([float(value) for value in self.ranges.low])
            about["int8_high"] = json.dumps([float(value) for value in self.ranges.high])
            about["int8"] = "round((x - low) / (high - low) * 255 - 128)"
        return [required(spec.columns[0], kind if spec.windows == "mean" else list_of(kind), about)]

    def load(self, model: Model, head: Path) -> None:
        """Load nothing: there is no head."""

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _EmbeddingCollector(self, shard)

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Turn finished vectors [.., D] into the numbers that are written."""
        if self.spec.dtype == "binary":
            return np.packbits(vectors > 0, axis=1)
        if self.ranges is not None:
            return self.ranges.quantize(vectors)
        return vectors.astype(np.float16 if self.spec.dtype == "float16" else np.float32)


class _EmbeddingCollector:
    def __init__(self, task: Embedding, shard: Sequences):
        self.task, self.shard = task, shard
        self.vectors_SD = np.empty((len(shard.lengths), task.dim), np.float32)

    def add(self, step: Pass) -> None:
        task = self.task
        hidden_TD = step.hidden_TD
        if task.wants_layers:
            chosen = [step.states[layer] for layer in task.layers]
            hidden_TD = chosen[0] if len(chosen) == 1 else torch.stack([state.float() for state in chosen]).mean(0)
        vectors_BD = task.pool(hidden_TD, step.batch.cu_seqlens)
        self.vectors_SD[step.sequences] = vectors_BD[:, : task.dim].cpu().numpy()

    def columns(self) -> list[pa.Array]:
        task, kind = self.task, self.task.fields[0].type
        each = task.spec.windows == "each"
        vectors = self.vectors_SD if each else self.shard.mean_over_windows(self.vectors_SD)
        if task.spec.normalize:
            vectors = F.normalize(torch.from_numpy(vectors), dim=1).numpy()
        flat = pa.array(task.encode(vectors).reshape(-1))
        vector_type = kind.value_type if each else kind
        column = pa.FixedSizeListArray.from_arrays(flat, type=vector_type)
        return [list_column(kind, self.shard.borders, column) if each else column]
