"""Weights as safetensors; opening costs a header's worth of reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from xlm_core.checkpoint.formats.tensorflow import from_tensorflow
from xlm_core.checkpoint.formats.tensors import Weights, broken, check_start

if TYPE_CHECKING:
    from pathlib import Path

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def open_safetensors(path: Path) -> Weights:
    """Open one safetensors file, whose values stay on disk until they are read.

    Raises:
        CheckpointError: the file is cut off, is something else, or its header does not fit its size.
    """
    check_start(path)
    try:
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        saved_by = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise broken(path, "a safetensors file", error) from None
    weights = Weights(
        path,
        "safetensors written by TensorFlow" if saved_by == "tf" else "safetensors",
        {name: tuple(part.get_shape()) for name, part in slices.items()},
        {name: _DTYPES.get(dtype := str(part.get_dtype()), dtype) for name, part in slices.items()},
        file.get_tensor,
    )
    return from_tensorflow(weights) if saved_by == "tf" else weights
