"""Sharded weights: several files, and an index with the file of each tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from xlm_core.checkpoint.files import INDEX_SUFFIX, is_shard
from xlm_core.checkpoint.formats.weights import Weights, check_first_bytes
from xlm_core.errors import CheckpointError, format_count, format_list, format_value
from xlm_core.files import read_json_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_LISTED = 3


def open_sharded(path: Path, open_shard: Callable[[Path], Weights]) -> Weights:
    """Open all shards of an index, and check that the index and the shards agree.

    Raises:
        CheckpointError: the index is malformed, a shard is missing, damaged or outside the directory, or a tensor is
            not in the shard that the index lists.
    """
    weight_map = _read_index(path)
    shards: dict[str, Weights] = {}
    for name in sorted(set(weight_map.values())):
        if not (path.parent / name).exists():
            raise CheckpointError(f"{path}: lists the shard {name}, which is missing; fetch the checkpoint again")
        shards[name] = open_shard(path.parent / name)
    missing = [
        f"{format_value(tensor)} of {name}" for tensor, name in weight_map.items() if tensor not in shards[name].shapes
    ]
    if missing:
        raise CheckpointError(
            f"{path}: tensors of the index are missing from their shards: {format_list(missing, _MAX_LISTED)}"
        )
    misplaced = [
        f"{format_value(tensor)} of {name}"
        for name, shard in shards.items()
        for tensor in shard.shapes
        if weight_map.get(tensor) != name
    ]
    if misplaced:
        raise CheckpointError(
            f"{path}: shards contain tensors that the index does not list for them: "
            f"{format_list(misplaced, _MAX_LISTED)}"
        )
    return Weights(
        path,
        f"{next(iter(shards.values())).format_name} in {format_count(len(shards), 'shard')}",
        {tensor: shards[name].shapes[tensor] for tensor, name in weight_map.items()},
        {tensor: shards[name].dtypes[tensor] for tensor, name in weight_map.items()},
        lambda tensor: shards[weight_map[tensor]].values(tensor),
    )


def _read_index(path: Path) -> dict[str, str]:
    """Read the file name of each tensor, and check that all are shards in the directory of the index."""
    check_first_bytes(path)
    weight_map = read_json_object(path, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: weight_map is missing or empty, expected an object of tensor to file")
    for tensor, name in cast("dict[str, Any]", weight_map).items():
        if not isinstance(name, str) or not is_shard(name, path.name):
            raise CheckpointError(
                f"{path}: weight_map: got {format_value(name)} for {format_value(tensor)}, expected a file of the"
                " same directory, such as"
                f" {path.name.replace('.', '-00001-of-00002.', 1).removesuffix(INDEX_SUFFIX)}"
            )
    return cast("dict[str, str]", weight_map)
