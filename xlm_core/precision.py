"""The precisions of models, and the precision of sums and probabilities."""

import torch
from torch import Tensor

HALF_DTYPES = (torch.float16, torch.bfloat16)

_BY_NAME = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def upcast(x: Tensor) -> Tensor:
    """Convert to float32; float64 stays float64."""
    return x if x.dtype == torch.float64 else x.float()


def model_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """Return the precision for a torch dtype or its name; float32 for None.

    Raises:
        ValueError: a dtype that models do not support. "auto" is not supported, because the result would depend on the
            precision of the file.
    """
    if dtype is None:
        return torch.float32
    found = _BY_NAME.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in _BY_NAME.values():
        raise ValueError(f"dtype: got {dtype!r}, expected one of {', '.join(_BY_NAME)}")
    return found
