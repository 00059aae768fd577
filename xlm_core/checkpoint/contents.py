"""What a checkpoint directory holds: which heads, and every tensor under its present name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.formats import open_weights
from xlm_core.checkpoint.matching import match
from xlm_core.checkpoint.names import (
    TRUNK_PREFIX,
    HeadKind,
    canonical,
    expected_shapes,
    implied_tensors,
    is_trunk_tensor,
)
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xlm_core.checkpoint.formats import Weights


@dataclass(frozen=True)
class CheckpointContents:
    """A checkpoint, looked into without reading a tensor."""

    config: XLMConfig
    weights: Weights
    has_trunk: bool
    heads: tuple[HeadKind, ...]  # those whose every tensor is there
    names: Mapping[str, str]  # a tensor's name in a file saved today, to its name in this one


def inspect_checkpoint(path: str | Path) -> CheckpointContents:
    """Look what a checkpoint directory holds, by names and shapes.

    Raises:
        CheckpointError: the directory holds no checkpoint, its trunk does not fit its configuration, it holds neither
            a trunk nor a head, or a tensor that no XLM model has.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    found = {canonical(name): name for name in sorted(weights.shapes)}
    trunk_names = {name for name in found if is_trunk_tensor(name, config)}
    match(weights, config, "trunk", ("trunk",) if trunk_names else ())
    heads = _heads(config, {name: weights.shapes[source] for name, source in found.items()})
    if not trunk_names and not heads:
        raise CheckpointError(f"{weights.path}: holds neither the trunk nor a head that its configuration describes")
    prefix = TRUNK_PREFIX if heads else ""  # as in the reference, which has none before a trunk that is alone
    names = {prefix + name if name in trunk_names else name: source for name, source in found.items()}
    return CheckpointContents(config, weights, bool(trunk_names), heads, names)


def _heads(config: XLMConfig, shapes: Mapping[str, tuple[int, ...]]) -> tuple[HeadKind, ...]:
    """Find the heads that are there; one whose tensors are but a part of another's does not count."""
    held: dict[HeadKind, set[str]] = {}
    for kind in get_args(HeadKind):
        expected = expected_shapes(config, kind, ("head",))
        may_lack = implied_tensors(config, kind).keys()
        own = {name for name, shape in expected.items() if shapes.get(name) == shape}
        if own and expected.keys() <= own | may_lack:
            held[kind] = own
    return tuple(kind for kind, own in held.items() if not any(own < other for other in held.values()))
