"""The weights of a checkpoint directory, in every format that XLM was ever published in."""

from xlm_core.checkpoint.formats.open_weights import open_weights
from xlm_core.checkpoint.formats.original import OriginalRelease, read_original
from xlm_core.checkpoint.formats.tensors import FLOATS, Weights

__all__ = [
    "FLOATS",
    "OriginalRelease",
    "Weights",
    "open_weights",
    "read_original",
]
