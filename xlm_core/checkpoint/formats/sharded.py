"""Weights that are cut into several files, with an index that says which tensor lies in which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from xlm_core.checkpoint.files import INDEX_SUFFIX, is_shard
from xlm_core.checkpoint.formats.tensors import Weights, check_start
from xlm_core.errors import CheckpointError, shown, some
from xlm_core.files import read_json_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_LISTED = 3


def open_sharded(path: Path, open_shard: Callable[[Path], Weights]) -> Weights:
    """Open every shard that an index names, and check one against the other.

    Raises:
        CheckpointError: the index is unusable, a shard is missing, damaged or outside the directory, or a tensor is
            not where the index says.
    """
    place = _read_index(path)
    shards: dict[str, Weights] = {}
    for name in sorted(set(place.values())):
        if not (path.parent / name).exists():
            raise CheckpointError(f"{path}: names the shard {name}, which is not there; fetch the checkpoint again")
        shards[name] = open_shard(path.parent / name)
    absent = [f"{shown(tensor)} of {name}" for tensor, name in place.items() if tensor not in shards[name].shapes]
    if absent:
        raise CheckpointError(
            f"{path}: tensors that the index names are missing from their shards: {some(absent, _MAX_LISTED)}"
        )
    extra = [
        f"{shown(tensor)} of {name}"
        for name, shard in shards.items()
        for tensor in shard.shapes
        if place.get(tensor) != name
    ]
    if extra:
        raise CheckpointError(f"{path}: tensors of the shards are not where the index says: {some(extra, _MAX_LISTED)}")
    return Weights(
        path,
        f"{next(iter(shards.values())).form} in {len(shards)} shards",
        {tensor: shards[name].shapes[tensor] for tensor, name in place.items()},
        {tensor: shards[name].dtypes[tensor] for tensor, name in place.items()},
        lambda tensor: shards[place[tensor]].read(tensor),
    )


def _read_index(path: Path) -> dict[str, str]:
    """Read which file each tensor is in, and check that all are shards beside the index."""
    check_start(path)
    place = read_json_object(path, CheckpointError).get("weight_map")
    if not isinstance(place, dict) or not place:
        raise CheckpointError(f"{path}: expected an object weight_map of tensor to file, which is not there or empty")
    for tensor, name in cast("dict[str, Any]", place).items():
        if not isinstance(name, str) or not is_shard(name, path.name):
            raise CheckpointError(
                f"{path}: weight_map sends {shown(tensor)} to {shown(name)}, expected a file beside it as"
                f" {path.name.replace('.', '-00001-of-00002.', 1).removesuffix(INDEX_SUFFIX)}"
            )
    return cast("dict[str, str]", place)
