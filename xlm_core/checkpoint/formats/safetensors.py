"""Weights in safetensors files. Opening a file reads only its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from xlm_core.checkpoint.formats.tensorflow import from_tensorflow
from xlm_core.checkpoint.formats.weights import Weights, check_first_bytes, damaged_file_error

if TYPE_CHECKING:
    from pathlib import Path

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def open_safetensors(path: Path) -> Weights:
    """Open a safetensors file. Values stay on disk until they are read.

    Raises:
        CheckpointError: the file is truncated or not a safetensors file, or its header does not match its size.
    """
    check_first_bytes(path)
    try:
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        saved_by = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise damaged_file_error(path, "a safetensors file", error) from None
    weights = Weights(
        path,
        "safetensors written by TensorFlow" if saved_by == "tf" else "safetensors",
        {name: tuple(part.get_shape()) for name, part in slices.items()},
        {name: _DTYPES.get(dtype := str(part.get_dtype()), dtype) for name, part in slices.items()},
        file.get_tensor,
    )
    return from_tensorflow(weights) if saved_by == "tf" else weights
