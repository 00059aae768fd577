"""The weights of a checkpoint directory, in every format that XLM was ever published in."""

from xlm_core.weights.formats import (
    SAFETENSORS_FILE,
    codes_files,
    find_original,
    open_weights,
    weights_files,
    weights_path,
)
from xlm_core.weights.original import OriginalRelease, read_original
from xlm_core.weights.tensors import Weights

__all__ = [
    "SAFETENSORS_FILE",
    "OriginalRelease",
    "Weights",
    "codes_files",
    "find_original",
    "open_weights",
    "read_original",
    "weights_files",
    "weights_path",
]
