"""Hash the trunk of a checkpoint, to find out whether two checkpoints have the same trunk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

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
        source = by_name[name]
        digest.update(f"{name}\0torch.{weights.dtypes[source]}\0{weights.shapes[source]}\0".encode())
        digest.update(np.ascontiguousarray(weights.values(source)).reshape(-1).view(np.uint8).data)
    return digest.hexdigest() if names else None
