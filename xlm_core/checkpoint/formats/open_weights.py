"""How each format of weights is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from xlm_core.checkpoint.files import BIN_FILE, H5_FILE, INDEX_SUFFIX, SAFETENSORS_FILE, weights_path
from xlm_core.checkpoint.formats.original import read_original
from xlm_core.checkpoint.formats.pytorch import open_pytorch
from xlm_core.checkpoint.formats.safetensors import open_safetensors
from xlm_core.checkpoint.formats.sharded import open_sharded
from xlm_core.checkpoint.formats.tensorflow import open_h5

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlm_core.checkpoint.formats.tensors import Weights

_OPEN: dict[str, Callable[[Path], Weights]] = {
    SAFETENSORS_FILE: open_safetensors,
    SAFETENSORS_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=open_safetensors),
    BIN_FILE: open_pytorch,
    BIN_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=open_pytorch),
    H5_FILE: open_h5,
}


def open_weights(directory: Path) -> Weights:
    """Open the weights of a checkpoint directory.

    Safetensors, zip-format .bin and .pth files (torch 1.6 and later) and .h5 files give their values when they are
    read, so this costs a header's worth of reading; older .bin and .pth files must be read whole.

    Raises:
        CheckpointError: no weights, or a file that is cut off, is something else, or would run code.
    """
    path = weights_path(directory)
    return _OPEN[path.name](path) if path.name in _OPEN else read_original(path).weights
