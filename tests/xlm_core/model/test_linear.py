"""Linear layers give the same results with and without gradients, which torch computes by different libraries."""

import pytest
import torch
import torch.nn.functional as F

from xlm_core.model import Linear


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2), (torch.float64, 1e-12)]
)
@pytest.mark.parametrize("activation", ["none", "gelu", "relu"])
@pytest.mark.parametrize("shape", [(0,), (1,), (37,), (3, 5)])
def test_results_are_those_of_the_formula_with_and_without_gradients(shape, activation, dtype, tolerance):
    torch.manual_seed(0)
    layer = Linear(64, 96, activation).to(dtype)
    x = torch.randn(*shape, 64, dtype=dtype)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    expected = {"none": lambda y: y, "gelu": F.gelu, "relu": F.relu}[activation](expected)
    for with_gradients in (True, False):
        with torch.set_grad_enabled(with_gradients):
            found = layer(x)
        assert found.dtype == dtype
        assert found.requires_grad == with_gradients
        torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_gradients_are_computed_through_the_activation(activation):
    layer = Linear(3, 4, activation).double()
    assert torch.autograd.gradcheck(layer, (torch.randn(2, 3, dtype=torch.float64, requires_grad=True),))
