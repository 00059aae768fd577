"""What is chosen for a device."""

import pytest
import torch

from xlm_core.inference import default_max_tokens


@pytest.mark.parametrize(
    ("emb_dim", "expected"), [(64, 4096), (256, 4096), (512, 2048), (1024, 1024), (1280, 819), (2048, 512)]
)
def test_passes_on_a_cpu_get_smaller_as_the_model_gets_wider(emb_dim, expected):
    """At most 4,096 tokens, and 2 ** 20 numbers in each layer's output, which fit the caches of a CPU."""
    assert default_max_tokens(torch.device("cpu"), emb_dim) == expected
    assert default_max_tokens(torch.device("cuda"), emb_dim) == 32_768
