"""Check that the weights of a checkpoint are finite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.matching import match_tensors
from xlm_core.errors import CheckpointError, format_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.checkpoint.names import ModelKind

_MAX_LISTED = 3
_CHUNK = 1 << 16
_BFLOAT16_EXPONENT = np.uint16(0x7F80)  # all bits set: NaN or infinite


def check_finite(path: str | Path, kind: ModelKind, head_only: bool = False) -> None:
    """Check that a model's weights contain neither NaN nor infinite values, which make every result unusable.

    The tensors are read one after another: 0.1 s per GB, if the file is in the operating system's cache.

    Args:
        path: the checkpoint directory.
        kind: `trunk`, or the head that is checked in addition.
        head_only: check only the head.

    Raises:
        CheckpointError: a tensor has such values, or as in `check_checkpoint`.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    names = match_tensors(weights, config, kind, ("head",) if head_only else ("trunk", "head"))
    wrong: list[str] = []
    for name in names.values():
        values = weights.values(name)
        if num_wrong := _count_not_finite(values, weights.dtypes[name]):
            wrong.append(f"{num_wrong:,} of {values.size:,} values of {name}")
    if wrong:
        raise CheckpointError(
            f"{weights.path}: weights are NaN or infinite: {format_list(wrong, _MAX_LISTED)}; fetch the checkpoint"
            " again, or use one from an earlier step of its training"
        )


def _count_not_finite(values: NDArray[Any], dtype: str) -> int:
    # In chunks, so that the intermediate results stay in the cache.
    flat, num_wrong = values.reshape(-1), 0
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        wrong = chunk & _BFLOAT16_EXPONENT == _BFLOAT16_EXPONENT if dtype == "bfloat16" else ~np.isfinite(chunk)
        num_wrong += int(np.count_nonzero(wrong))
    return num_wrong
