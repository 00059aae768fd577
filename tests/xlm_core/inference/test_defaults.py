"""What is chosen for a device."""

import pytest
import torch

from xlm_core.inference import default_max_tokens


@pytest.mark.parametrize(
    ("emb_dim", "expected"), [(64, 2048), (256, 2048), (512, 1024), (1024, 512), (1280, 409), (2048, 256)]
)
def test_passes_on_a_cpu_get_smaller_as_the_model_gets_wider(emb_dim, expected):
    """At most 2,048 tokens, and 2 ** 19 numbers in each layer's output, which fit the caches of a CPU."""
    assert default_max_tokens(torch.device("cpu"), emb_dim) == expected
    assert default_max_tokens(torch.device("cuda"), emb_dim) == 32_768
