"""One vector for each row, or for each window of a row.

Letters: S sequences, N rows, D dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from xlm_core.heads import POOLINGS
from xlm_core.inference.run import Collector
from xlm_core.model import Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xlm_core.decoding import Sequences
    from xlm_core.inference.model import Pass
    from xlm_core.inference.task_checks import PoolingName


class EmbeddingCollector(Collector["NDArray[np.float32]"]):
    """Collects vectors: float32 [N, D], or [S, D] with a vector for each window.

    Args:
        sequences: of all rows.
        pooling: how the token vectors of a sequence are combined.
        layers: the layers to average; 0 is the embeddings, -1 the last layer.
        dim: number of leading dimensions to keep, before vectors are normalized.
        normalize: scale each vector to length 1.
        each_window: return the vectors of windows, not their mean, weighted by numbers of tokens.
    """

    def __init__(
        self,
        sequences: Sequences,
        *,
        pooling: PoolingName,
        layers: Sequence[int],
        dim: int,
        normalize: bool,
        each_window: bool,
    ):
        self._sequences, self.layers = sequences, layers
        self._normalize, self._each_window = normalize, each_window
        self._pool, self._dim = POOLINGS[pooling], dim
        self._vectors_SD = np.empty((len(sequences.lengths), dim), np.float32)

    def compute(self, step: Pass) -> list[Write]:
        """See `Collector`."""
        chosen = [step.state(layer) for layer in self.layers]
        hidden_TD = chosen[0] if len(chosen) == 1 else torch.stack([state.float() for state in chosen]).mean(0)
        vectors_BD = self._pool(hidden_TD, step.batch.cu_seqlens)
        return [Write(self._vectors_SD, step.sequences, vectors_BD[:, : self._dim])]

    def result(self) -> NDArray[np.float32]:
        """See `Collector`."""
        vectors = self._vectors_SD if self._each_window else self._sequences.mean_over_windows(self._vectors_SD)
        return F.normalize(torch.from_numpy(vectors), dim=1).numpy() if self._normalize else vectors
