"""An initialization with which a new model looks at neighbouring tokens from its first step.

With random weights, attention is uniform, and a small model, or one with little data, takes most of its training to
find out about word order.
"""

import math

import torch

from xlm_core.model.layers import Layer
from xlm_core.model.trunk import Trunk
from xlm_core.positions import sinusoidal_positions

_POSITION_SCALE = 4.0  # standard deviation of the positions, relative to that of the word embeddings
_ATTENTION_SCALE = 1.5  # of the weights: high enough that the nearest tokens have most of the attention


@torch.no_grad()
def init_local_attention(trunk: Trunk) -> None:
    """Point the heads of all layers but the last to the tokens before and after: offsets -1, 1, -2, 2 and so on.

    Position embeddings become sinusoids, and are trained like others. Queries start as the sinusoids of the position
    at the head's offset, and keys as those of their own: their product is largest there (Vaswani et al. 2017, section
    3.5: a shift of sinusoids is linear). To both, the random weights are added.

    Raises:
        ValueError: heads of an odd size.
    """
    config = trunk.config
    size, dim = config.head_dim, config.emb_dim
    if size % 2:
        raise ValueError(f"local initialization: heads have {size} dimensions, expected an even number")
    waves = sinusoidal_positions(config.max_position_embeddings, dim)
    std = config.embed_init_std * _POSITION_SCALE
    if not config.sinusoidal_embeddings:
        trunk.position_embeddings.weight.copy_(waves * (std / waves.std()))
    frequencies = 10000.0 ** (-2 * torch.arange(size // 2) / dim)
    for layer in list(trunk.layers)[:-1]:
        assert isinstance(layer, Layer)
        weight_3NHD = layer.attention.qkv.weight.view(3, config.n_heads, size, dim)
        for head in range(config.n_heads):
            offset = (head // 2 + 1) * (1 if head % 2 else -1)
            for i, frequency in enumerate(frequencies.tolist()):
                cos, sin = (_ATTENTION_SCALE * f(frequency * offset) for f in (math.cos, math.sin))
                columns = slice(2 * i, 2 * i + 2)
                weight_3NHD[0, head, columns, columns] += torch.tensor([[cos, sin], [-sin, cos]])
                weight_3NHD[1, head, columns, columns] += _ATTENTION_SCALE * torch.eye(2)
