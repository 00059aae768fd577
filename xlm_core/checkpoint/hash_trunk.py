"""Hash the trunk of a checkpoint, to find out whether two checkpoints have the same trunk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.names import canonical_name, is_trunk_tensor


def trunk_hash(path: str | Path) -> str | None:
    """Hash the tensors of the trunk, to check that a head was trained with the trunk that it will run on.

    Returns:
        The hex SHA-256 over names, dtypes, shapes and values, which does not depend on the file format. None for a
        directory without a trunk. The same values in another precision have another hash.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    by_name = {canonical_name(name): name for name in weights.shapes}
    digest = hashlib.sha256()
    names = sorted(name for name in by_name if is_trunk_tensor(name, config))
    for name in names:
        tensor = weights.read(by_name[name]).contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest() if names else None
