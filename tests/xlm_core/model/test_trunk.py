"""Range checks of the trunk, and its output in half precision."""

import numpy as np
import pytest
import torch

from xlm_core import XLMModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.model.packing import PackedBatch
from xlm_core.ragged import cumulative_lengths

CONFIG = XLMConfig(vocab_size=500, emb_dim=256, n_layers=4, n_heads=4, n_langs=5, max_position_embeddings=128)
LENGTHS = np.array([17, 3, 128, 1, 40, 17, 90, 2, 33, 64, 5, 17, 1, 101])


def build():
    torch.manual_seed(0)
    model = XLMModel(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def trunk():
    return build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": [3, 500]}, r"input_ids: got 3 to 500, expected 0 to 499 \(vocab_size is 500\)"),
        ({"input_ids": [3, -1]}, "input_ids: got -1 to 3"),
        ({"langs": [5, 5]}, r"langs: got 5 to 5, expected -1 to 4 \(n_langs is 5\)"),
        ({"positions": [0, 128]}, r"positions: got 0 to 128, expected 0 to 127 .*the longest of 1 .* 2 tokens"),
    ],
)
def test_index_outside_its_embedding_table_raises_an_error(trunk, change, message):
    fields = {"input_ids": [3, 4], "positions": [0, 1], "cu_seqlens": [0, 2], "langs": [0, 0]} | change
    batch = PackedBatch(**{name: torch.tensor(values) for name, values in fields.items()})
    with pytest.raises(ValueError, match=message):
        trunk.forward_packed(batch)


def test_sequence_longer_than_the_position_embeddings_raises_an_error(trunk):
    ids = np.full(129, 3)
    with pytest.raises(ValueError, match=r"max_position_embeddings is 128.*1 sequences has 129 tokens"):
        trunk.forward_packed(PackedBatch.from_ragged(ids, np.array([0, 129])))


def test_bfloat16_output_is_close_to_float32():
    model, generator = build(), np.random.default_rng(1)
    ids = generator.integers(3, 500, LENGTHS.sum(), dtype=np.int32)
    langs = generator.integers(-1, 5, len(LENGTHS), dtype=np.int32)
    batch = PackedBatch.from_ragged(ids, cumulative_lengths(LENGTHS), langs)
    with torch.inference_mode():
        expected = model.forward_packed(batch)
        got = model.to(torch.bfloat16).forward_packed(batch)
    assert got.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(got.float(), expected).min() > 0.999
