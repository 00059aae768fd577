"""Position embeddings of checkpoints with `sinusoidal_embeddings`."""

import numpy as np
import torch
from torch import Tensor


def sinusoidal_positions(num_positions: int, dim: int) -> Tensor:
    """Compute sinusoidal position embeddings.

    Column 2i holds sin(p / 10000^(2i / dim)) and column 2i + 1 the cosine (Vaswani et al. 2017, section 3.5).
    Angles are computed in float64: float32 loses the last digits of the sine at large positions, and checkpoints were
    trained with the float64 table.

    Returns:
        float32 [num_positions, dim].
    """
    column = np.arange(dim)
    angle = np.arange(num_positions)[:, None] / np.power(10000.0, 2 * (column // 2) / dim)
    table = np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.tensor(table, dtype=torch.float32)
