"""Read weights in all formats in which XLM checkpoints were published."""

from xlm_core.checkpoint.formats.open_weights import open_weights
from xlm_core.checkpoint.formats.original import OriginalRelease, read_original
from xlm_core.checkpoint.formats.weights import FLOAT_DTYPES, Weights

__all__ = [
    "FLOAT_DTYPES",
    "OriginalRelease",
    "Weights",
    "open_weights",
    "read_original",
]
