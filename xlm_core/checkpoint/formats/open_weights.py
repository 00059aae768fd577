"""Open the weights of a checkpoint directory in any format."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from xlm_core.checkpoint.files import BIN_FILE, H5_FILE, INDEX_SUFFIX, SAFETENSORS_FILE, weights_path
from xlm_core.checkpoint.formats.safetensors import open_safetensors
from xlm_core.checkpoint.formats.sharded import open_sharded
from xlm_core.checkpoint.formats.tensorflow import open_keras

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xlm_core.checkpoint.formats.weights import Weights


def _open_pytorch(path: Path) -> Weights:
    from xlm_core.checkpoint.formats.pytorch import open_pytorch  # loads torch

    return open_pytorch(path)


_OPEN: dict[str, Callable[[Path], Weights]] = {
    SAFETENSORS_FILE: open_safetensors,
    SAFETENSORS_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=open_safetensors),
    BIN_FILE: _open_pytorch,
    BIN_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=_open_pytorch),
    H5_FILE: open_keras,
}


def open_weights(directory: Path) -> Weights:
    """Open the weights of a checkpoint directory.

    Only the headers of safetensors and .h5 files are read, and of .bin and .pth files in zip format (torch 1.6 and
    later). Older .bin and .pth files have to be read completely.

    Raises:
        CheckpointError: there are no weights, or a file is truncated, is not a weights file, or would run code.
    """
    path = weights_path(directory)
    if path.name in _OPEN:
        return _OPEN[path.name](path)
    from xlm_core.checkpoint.formats.original import read_original  # loads torch

    return read_original(path).weights
