"""feature-extraction: one vector a row, or one for each of its windows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from pipelines.errors import FatalError
from pipelines.tasks.quantization import Ranges
from pipelines.tasks.task import Task, list_column, list_of, required
from xlm_core import POOLINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.rows.sequences import Sequences
    from pipelines.storage.options import StoreSettings
    from pipelines.tasks.settings import FeatureExtraction
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig

_NUMBERS = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}


class Embedding(Task):
    """See `FeatureExtraction`."""

    def __init__(self, spec: FeatureExtraction, config: XLMConfig, stores: Sequence[StoreSettings] = ()):
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
        self.about = {
            "pooling": spec.pooling,
            "normalized": str(spec.normalize).lower(),
            "layers": json.dumps(layers),
            "dim": str(self.dim),
        }
        self.ranges: Ranges | None = None
        if spec.calibration is not None:
            self.ranges = Ranges.read(spec.calibration, stores, spec.columns[0], self.dim, self.about)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        spec = self.spec
        width = -(-self.dim // 8) if spec.dtype == "binary" else self.dim
        kind: pa.DataType = pa.list_(required("item", _NUMBERS[spec.dtype]), width)
        about = dict(self.about)
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
