"""Linear layers, with the fastest matrix products of torch for inference on a CPU."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "gelu", "relu"]

# `F.linear` calls MKL, which does not use AVX-512 on AMD processors. oneDNN takes 0.44 of its time there, and 0.88 with
# AVX2 alone, and computes bias and activation while the result is in the cache. torch's compiler uses this operator.
_HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


class Linear(nn.Linear):
    """A linear layer, followed by an activation."""

    def __init__(self, in_features: int, out_features: int, activation: Activation = "none") -> None:
        super().__init__(in_features, out_features)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """Compute [..., out_features] from [..., in_features]."""
        if self._uses_onednn(input):
            # the exact gelu, as below: the algorithm "none" is not the approximation by tanh
            return torch.ops.mkldnn._linear_pointwise(
                input, self.weight, self.bias, self.activation, [], "none" if self.activation == "gelu" else ""
            )
        output = F.linear(input, self.weight, self.bias)
        # the tanh approximation of gelu differs by up to 5e-4, which adds up over the layers
        return {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu}[self.activation](output)

    def _uses_onednn(self, x: Tensor) -> bool:
        is_supported = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
        # the operator computes no gradients, and autocast does not convert its arguments
        return _HAS_ONEDNN and is_supported and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
