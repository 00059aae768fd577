"""Read weights in all formats in which XLM checkpoints were published."""

from typing import TYPE_CHECKING

from xlm_core.checkpoint.formats.open_weights import open_weights
from xlm_core.checkpoint.formats.weights import FLOAT_DTYPES, Weights
from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.checkpoint.formats.original import OriginalRelease, read_original

__all__ = [
    "FLOAT_DTYPES",
    "OriginalRelease",
    "Weights",
    "open_weights",
    "read_original",
]

# The module needs torch.
__getattr__ = lazy_names(__name__, {"OriginalRelease": "original", "read_original": "original"})
