"""Comparing the names and shapes of a checkpoint's tensors with those that a model needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.files import CONFIG_FILE
from xlm_core.checkpoint.formats import FLOATS, open_weights
from xlm_core.checkpoint.names import (
    Kind,
    Part,
    Shape,
    canonical,
    expected_shapes,
    implied_tensors,
    is_bystander,
    twins,
)
from xlm_core.errors import CheckpointError, some

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xlm_core.checkpoint.formats import Weights

_MAX_LISTED = 5  # of a hundred missing tensors, the first few tell what went wrong


def check_checkpoint(path: str | Path, kind: Kind, head_only: bool = False) -> XLMConfig:
    """Check that a directory holds a model, by names and shapes alone; no tensor is read.

    Args:
        path: the checkpoint directory.
        kind: `trunk`, or the head it must hold with the trunk.
        head_only: ask for the head alone, to be run over another directory's trunk.

    Returns:
        The checkpoint's configuration.

    Raises:
        CheckpointError: as `from_pretrained` would.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    match(open_weights(directory), config, kind, ("head",) if head_only else ("trunk", "head"))
    return config


def match(weights: Weights, config: XLMConfig, kind: Kind, parts: tuple[Part, ...]) -> dict[str, str]:
    """Compare a file's names and shapes with what a model needs.

    Returns:
        The file's name of each tensor to read, by canonical name.

    Raises:
        CheckpointError: everything that is wrong, in one line.
    """
    if "trunk" in parts and config.n_layers > len(weights.shapes):  # before a list of them is made
        raise CheckpointError(
            f"{weights.path}: holds {len(weights.shapes)} tensors, too few for the {config.n_layers} layers that its"
            f" {CONFIG_FILE} describes"
        )
    expected = expected_shapes(config, kind, parts)
    found: dict[str, str] = {}
    unexpected: list[str] = []
    misshapen: list[str] = []
    all_names: dict[str, str] = {}
    for file_name in sorted(weights.shapes):
        name, shape = canonical(file_name), weights.shapes[file_name]
        if name in all_names:
            unexpected.append(f"{file_name} {_spell(shape)} beside {all_names[name]}")
            continue
        all_names[name] = file_name
        if name in expected:
            found[name] = file_name
        elif not is_bystander(name, config, kind, parts):
            unexpected.append(f"{file_name} {_spell(shape)}")
    if "trunk" not in parts:  # then a tied tensor that was left out is read where its twin is
        for name, twin in twins(config, kind).items():
            if name not in found and twin in all_names:
                found[name] = all_names[twin]
    for name, file_name in found.items():
        shape, dtype = weights.shapes[file_name], weights.dtypes[file_name]
        if shape != expected[name]:
            misshapen.append(f"{file_name} is {_spell(shape)}, expected {_spell(expected[name])}")
        elif dtype not in FLOATS:
            misshapen.append(f"{file_name} holds {dtype}, expected floating point")
    may_lack = {n for n, source in implied_tensors(config, kind).items() if callable(source) or "trunk" in parts}
    missing = [f"{name} {_spell(expected[name])}" for name in expected if name not in found and name not in may_lack]
    faults = [
        text for text in (_list("missing", missing), _list("unexpected", unexpected), _list("wrong", misshapen)) if text
    ]
    if faults:
        raise CheckpointError(
            f"{weights.path}: does not hold the {kind} model that its {CONFIG_FILE} describes: {'; '.join(faults)}"
        )
    return found


def _list(what: str, items: list[str]) -> str:
    """Write `missing 7: a, b, c, d, e and 2 more`."""
    printable = [item if item.isprintable() else ascii(item) for item in items]
    return f"{what} {len(items)}: {some(printable, _MAX_LISTED)}" if items else ""


def _spell(shape: Iterable[int] | Shape) -> str:
    return str(list(shape))
