"""Inspect a checkpoint directory: its heads, and the current name of each tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.matching import complete_heads, match_tensors
from xlm_core.checkpoint.names import (
    TRUNK_PREFIX,
    HeadKind,
    canonical_name,
    is_trunk_tensor,
)
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlm_core.checkpoint.formats import Weights


@dataclass(frozen=True)
class CheckpointContents:
    """The contents of a checkpoint, found without reading a tensor."""

    config: XLMConfig
    weights: Weights
    has_trunk: bool
    heads: tuple[HeadKind, ...]  # heads with all their tensors
    names: Mapping[str, str]  # name of each tensor in a newly saved file, to its name in this one


def inspect_checkpoint(path: str | Path) -> CheckpointContents:
    """Find the contents of a checkpoint directory by the names and shapes of its tensors.

    Raises:
        CheckpointError: the directory has no checkpoint, its trunk does not match its configuration, it has neither a
            trunk nor a head, or it has a tensor that is not part of any XLM model.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    found = {canonical_name(name): name for name in sorted(weights.shapes)}
    trunk_names = {name for name in found if is_trunk_tensor(name, config)}
    match_tensors(weights, config, "trunk", ("trunk",) if trunk_names else ())
    heads = complete_heads({name: weights.shapes[source] for name, source in found.items()}, config)
    if not trunk_names and not heads:
        raise CheckpointError(f"{weights.path}: holds neither the trunk nor a head that its configuration describes")
    prefix = TRUNK_PREFIX if heads else ""  # as in the reference: a trunk without a head has no prefix
    names = {prefix + name if name in trunk_names else name: source for name, source in found.items()}
    return CheckpointContents(config, weights, bool(trunk_names), heads, names)
