"""The precisions that a model runs in, and the one that sums and probabilities are computed in."""

import torch
from torch import Tensor

_BY_NAME = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def upcast(x: Tensor) -> Tensor:
    """Give float64 as it is and every other precision as float32."""
    return x if x.dtype == torch.float64 else x.float()


def model_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """Give the precision that a caller asks for by torch's type or its name; float32 for None.

    Raises:
        ValueError: none that a model runs in; "auto" is none, since the result would be the file's choice.
    """
    if dtype is None:
        return torch.float32
    found = _BY_NAME.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in _BY_NAME.values():
        raise ValueError(f"dtype: got {dtype!r}, expected one of {', '.join(_BY_NAME)}")
    return found
