"""A model that is initialized locally looks at neighbours, regardless of the words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xlm_core import XLMConfig
from xlm_core.model import PackedBatch, Trunk, init_local_attention

CONFIG = XLMConfig(
    vocab_size=500,
    emb_dim=128,
    n_layers=3,
    n_heads=4,
    max_position_embeddings=64,
    embed_init_std=0.05,
    init_std=0.02,
    dropout=0.0,
    attention_dropout=0.0,
)
LENGTH = 40


def attention_weights(trunk):
    """Return the weights of the first layer's heads, [N, L, L]."""
    ids = torch.randint(10, 500, (LENGTH,), generator=torch.Generator().manual_seed(0)).numpy()
    batch = PackedBatch.from_ragged(ids, np.array([0, LENGTH]), None)
    seen = []
    layer = trunk.layers[0].attention
    handle = layer.qkv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        trunk.eval().forward_packed(batch)
    handle.remove()
    q_LNH, k_LNH, _ = seen[0][:LENGTH].unflatten(-1, layer.qkv_shape).unbind(1)
    return (torch.einsum("inh,jnh->nij", q_LNH, k_LNH) / trunk.config.head_dim**0.5).softmax(-1)


@pytest.mark.parametrize("sinusoidal", [False, True])
def test_each_head_looks_at_the_token_at_its_offset(sinusoidal):
    torch.manual_seed(0)
    trunk = Trunk(replace(CONFIG, sinusoidal_embeddings=sinusoidal))
    before = attention_weights(trunk)
    init_local_attention(trunk)
    after = attention_weights(trunk)
    inner = torch.arange(3, LENGTH - 3)
    for head, offset in enumerate((-1, 1, -2, 2)):
        assert before[head, inner, inner + offset].mean() < 2 / LENGTH
        share = (after[head, inner].argmax(-1) == inner + offset).float().mean()
        assert share > 0.9, (head, offset, share)


def test_last_layer_stays_random():
    torch.manual_seed(0)
    trunk = Trunk(CONFIG)
    before = [layer.attention.qkv.weight.clone() for layer in trunk.layers]
    init_local_attention(trunk)
    after = [layer.attention.qkv.weight for layer in trunk.layers]
    changed = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    assert changed == [True, True, False]


def test_heads_of_an_odd_size_are_refused():
    with pytest.raises(ValueError, match="even"):
        init_local_attention(Trunk(replace(CONFIG, emb_dim=15, n_heads=5)))
