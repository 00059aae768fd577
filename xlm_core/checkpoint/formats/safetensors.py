"""Weights in safetensors files. Opening a file reads only its header."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from xlm_core.checkpoint.formats.tensorflow import from_tensorflow
from xlm_core.checkpoint.formats.weights import Weights, check_first_bytes, damaged_file_error

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


def open_safetensors(path: Path) -> Weights:
    """Open a safetensors file. Values stay on disk until they are read.

    Raises:
        CheckpointError: the file is truncated or not a safetensors file, or its header does not match its size.
    """
    check_first_bytes(path)
    try:
        with safe_open(path, framework="np"):  # checks the header; torch would be loaded by framework="pt"
            header, start = _read_header(path)
    except (SafetensorError, OSError) as error:
        raise damaged_file_error(path, "a safetensors file", error) from None
    saved_by = (header.pop("__metadata__", None) or {}).get("format")
    shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
    dtypes = {name: _DTYPES.get(dtype := str(tensor["dtype"]), dtype) for name, tensor in header.items()}

    def values(name: str) -> NDArray[Any]:
        dtype = np.dtype("uint16" if dtypes[name] == "bfloat16" else dtypes[name])
        if not math.prod(shapes[name]):
            return np.empty(shapes[name], dtype)
        # Copy-on-write, because torch warns of arrays that cannot be written.
        return np.memmap(path, dtype, "c", start + header[name]["data_offsets"][0], shapes[name])

    format_name = "safetensors written by TensorFlow" if saved_by == "tf" else "safetensors"
    weights = Weights(path, format_name, shapes, dtypes, values)
    return from_tensorflow(weights) if saved_by == "tf" else weights


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a file, and the position of the values, to which the header's offsets refer."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)), 8 + size
