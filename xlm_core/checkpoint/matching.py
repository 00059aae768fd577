"""Compare the names and shapes of the tensors in a checkpoint with those that a model needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.files import CONFIG_FILE
from xlm_core.checkpoint.formats import FLOAT_DTYPES, open_weights
from xlm_core.checkpoint.names import (
    HeadKind,
    ModelKind,
    ModelPart,
    Shape,
    canonical_name,
    derivable_tensors,
    expected_shapes,
    is_ignored_tensor,
    is_trunk_tensor,
    tied_tensors,
)
from xlm_core.errors import CheckpointError, format_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xlm_core.checkpoint.formats import Weights

_MAX_LISTED = 5  # the first few of a hundred missing tensors show the problem


def check_checkpoint(path: str | Path, kind: ModelKind, head_only: bool = False) -> XLMConfig:
    """Check by names and shapes, without reading a tensor, that a directory contains a model.

    Args:
        path: the checkpoint directory.
        kind: `trunk`, or the head that the directory must contain in addition to the trunk.
        head_only: require only the head, to run on the trunk of another directory.

    Returns:
        The checkpoint's configuration.

    Raises:
        CheckpointError: a file is damaged, or tensors are missing, unexpected or of another shape.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    match_tensors(open_weights(directory), config, kind, ("head",) if head_only else ("trunk", "head"))
    return config


def match_tensors(weights: Weights, config: XLMConfig, kind: ModelKind, parts: tuple[ModelPart, ...]) -> dict[str, str]:
    """Compare the names and shapes in a file with those that a model needs.

    Returns:
        The name in the file of each tensor to read, by canonical name.

    Raises:
        CheckpointError: one line that names what the file contains instead of the model, or lists missing, unexpected
            and wrong tensors.
    """
    shapes = {canonical_name(name): weights.shapes[name] for name in sorted(weights.shapes)}
    # Checked first, because a list of the expected tensors of too many layers could fill the memory.
    if "trunk" in parts and config.n_layers > len(weights.shapes):
        too_few = (
            f"holds {len(weights.shapes)} tensors, too few for the {config.n_layers} layers that its {CONFIG_FILE} "
            "describes"
        )
        raise CheckpointError(f"{weights.path}: {_name_other_model(shapes, config, kind, parts) or too_few}")
    expected = expected_shapes(config, kind, parts)
    found: dict[str, str] = {}
    unexpected: list[str] = []
    wrong: list[str] = []
    all_names: dict[str, str] = {}
    for file_name in sorted(weights.shapes):
        name, shape = canonical_name(file_name), weights.shapes[file_name]
        if name in all_names:
            unexpected.append(f"{file_name} {_format_shape(shape)}, a duplicate of {all_names[name]}")
            continue
        all_names[name] = file_name
        if name in expected:
            found[name] = file_name
        elif not is_ignored_tensor(name, config, kind, parts):
            unexpected.append(f"{file_name} {_format_shape(shape)}")
    if "trunk" not in parts:  # a head without its tied tensor reads it from the trunk of the same file
        for name, source in tied_tensors(config, kind).items():
            if name not in found and source in all_names:
                found[name] = all_names[source]
    for name, file_name in found.items():
        shape, dtype = weights.shapes[file_name], weights.dtypes[file_name]
        if shape != expected[name]:
            wrong.append(f"{file_name} is {_format_shape(shape)}, expected {_format_shape(expected[name])}")
        elif dtype not in FLOAT_DTYPES:
            wrong.append(f"{file_name} holds {dtype}, expected floating point")
    optional = {n for n, source in derivable_tensors(config, kind).items() if callable(source) or "trunk" in parts}
    missing = [
        f"{name} {_format_shape(expected[name])}" for name in expected if name not in found and name not in optional
    ]
    problems = [
        text
        for text in (
            _format_problem("missing", missing),
            _format_problem("unexpected", unexpected),
            _format_problem("wrong", wrong),
        )
        if text
    ]
    if problems:
        listed = f"does not contain the {kind} model that its {CONFIG_FILE} describes: {'; '.join(problems)}"
        raise CheckpointError(f"{weights.path}: {_name_other_model(shapes, config, kind, parts) or listed}")
    return found


def complete_heads(shapes: Mapping[str, Shape], config: XLMConfig) -> tuple[HeadKind, ...]:
    """Find the complete heads. A head whose tensors are a subset of another head's is not counted.

    Args:
        shapes: of the tensors in a file, by canonical name.
        config: the checkpoint's configuration.
    """
    found: dict[HeadKind, set[str]] = {}
    for kind in get_args(HeadKind):
        expected = expected_shapes(config, kind, ("head",))
        optional = derivable_tensors(config, kind).keys()
        own = {name for name, shape in expected.items() if shapes.get(name) == shape}
        if own and expected.keys() <= own | optional:
            found[kind] = own
    return tuple(kind for kind, own in found.items() if not any(own < other for other in found.values()))


def _name_other_model(
    shapes: Mapping[str, Shape], config: XLMConfig, kind: ModelKind, parts: tuple[ModelPart, ...]
) -> str | None:
    """Describe what a file contains instead of the model, and what to do; None if it may be the model, but damaged."""
    heads = complete_heads(shapes, config)
    has_trunk = any(is_trunk_tensor(name, config) for name in shapes)
    contents = " and ".join(f"a {head} head" for head in heads) or "a trunk"
    if heads and not has_trunk and "trunk" in parts:
        return (
            f"contains {contents} without a trunk; name the checkpoint that it was trained with, and this directory "
            "as the head of a task"
        )
    is_absent = bool(heads) or (has_trunk and shapes.keys().isdisjoint(expected_shapes(config, kind, ("head",))))
    if kind != "trunk" and "head" in parts and kind not in heads and is_absent:
        advice = "set head to a directory with one" if "trunk" not in parts else "name a checkpoint with one"
        return f"contains {contents}, but no {kind.removesuffix('-simple')} head; {advice}"
    return None


def _format_problem(what: str, items: list[str]) -> str:
    """Format `missing 7: a, b, c, d, e and 2 more`; an empty string for no items."""
    printable = [item if item.isprintable() else ascii(item) for item in items]
    return f"{what} {len(items)}: {format_list(printable, _MAX_LISTED)}" if items else ""


def _format_shape(shape: Iterable[int] | Shape) -> str:
    return str(list(shape))
