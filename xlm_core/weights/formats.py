"""Which file of a checkpoint directory holds its weights, and how each format is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from xlm_core.errors import CheckpointError
from xlm_core.weights.original import read_original
from xlm_core.weights.pytorch import open_pytorch
from xlm_core.weights.safetensors import open_safetensors
from xlm_core.weights.sharded import INDEX_SUFFIX, is_shard, open_sharded
from xlm_core.weights.tensorflow import open_h5

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from xlm_core.weights.tensors import Weights

SAFETENSORS_FILE = "model.safetensors"
_BIN_FILE = "pytorch_model.bin"
_H5_FILE = "tf_model.h5"
_ORIGINAL_SUFFIX = ".pth"

# The first that a directory holds is its weights; where there is none, the one .pth of the original release.
_OPEN: dict[str, Callable[[Path], Weights]] = {
    SAFETENSORS_FILE: open_safetensors,
    SAFETENSORS_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=open_safetensors),
    _BIN_FILE: open_pytorch,
    _BIN_FILE + INDEX_SUFFIX: partial(open_sharded, open_shard=open_pytorch),
    _H5_FILE: open_h5,
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


def weights_path(directory: Path) -> Path:
    """Give the file that `open_weights` opens.

    Raises:
        CheckpointError: there is none.
    """
    name = _choose([file.name for file in directory.iterdir()])
    if name is None:
        raise CheckpointError(
            f"{directory}: has no weights; expected one of {', '.join(_OPEN)}, or the one .pth of the original release"
        )
    return directory / name


def find_original(directory: Path) -> Path | None:
    """Give the `.pth` of the original release, if that is what `open_weights` would open."""
    name = _choose([file.name for file in directory.iterdir()])
    return None if name is None or name in _OPEN else directory / name


def weights_files(names: Collection[str]) -> list[str]:
    """Choose, of a directory's file names, those that `open_weights` reads: of several formats, one.

    Returns:
        The weights first; an index with all its shards, a `.pth` with its `codes`. Nothing where there are no weights.
    """
    name = _choose(names)
    if name is None:
        return []
    if name.endswith(INDEX_SUFFIX):
        return [name, *sorted(other for other in names if is_shard(other, name))]
    return [name] if name in _OPEN else [name, *codes_files(names)]


def codes_files(names: Collection[str]) -> list[str]:
    """Give those of a directory's file names that hold the merges of an original release."""
    return sorted(name for name in names if name.startswith("codes"))


def _choose(names: Collection[str]) -> str | None:
    for name in _OPEN:
        if name in names:
            return name
    originals = [name for name in names if name.endswith(_ORIGINAL_SUFFIX)]
    return originals[0] if len(originals) == 1 else None
