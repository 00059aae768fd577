"""Checkpoint directories in the field-standard layout: strict loading, checking, saving, and their hashes."""

import hashlib
import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xlm_core.checkpoint_names import (
    Kind,
    Part,
    Shape,
    canonical,
    expected_shapes,
    implied_tensors,
    is_bystander,
    to_file,
    to_module,
    trunk_shapes,
)
from xlm_core.config import CONFIG_FILE, XLMConfig
from xlm_core.errors import CheckpointError
from xlm_core.weights import SAFETENSORS_FILE, WeightsFile, open_weights, weights_path

TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_MAX_LISTED = 5  # of a hundred missing tensors, the first few tell what went wrong
_CHUNK_BYTES = 1 << 22


class PretrainedModule(nn.Module):
    """A module with a configuration, which lives in checkpoint directories.

    A subclass says what it is: a trunk (`parts` is trunk), a head alone (head; it reads only the head's tensors,
    from a directory that may hold the trunk as well), or both, under the names `trunk` and `head`.
    """

    kind: ClassVar[Kind]
    parts: ClassVar[tuple[Part, ...]]
    reference_class: ClassVar[str]  # what config.json calls it

    config: XLMConfig

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls, path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Self:
        """Load from a checkpoint directory, in evaluation mode.

        Nothing is ever left at random: every tensor must be there, and none may be left over.

        Args:
            path: a local directory with `config.json` and `model.safetensors` or `pytorch_model.bin`.
            dtype: float32 if not given, whatever the file's.
            device: the CPU if not given.

        Raises:
            CheckpointError: one line that names the file and what is wrong with it.
        """
        directory = Path(path)
        config = XLMConfig.from_pretrained(directory)
        weights = open_weights(directory)
        names = _match(weights, config, cls.kind, cls.parts)
        tensors: dict[str, Tensor] = {}
        for name, file_name in names.items():
            # copied: what is read may be a view of the file, and would change or crash with it
            tensors[name] = weights.read(file_name).to(
                device=device or "cpu", dtype=dtype or torch.float32, copy=True, memory_format=torch.contiguous_format
            )
        for name, source in implied_tensors(config, cls.kind).items():
            if name not in tensors and name in expected_shapes(config, cls.kind, cls.parts):
                tensors[name] = (
                    tensors[source]
                    if isinstance(source, str)
                    else source().to(device=device or "cpu", dtype=dtype or torch.float32)
                )
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            module = cls(config)
        module.load_state_dict(to_module(tensors, *module.prefixes()), strict=True, assign=True)
        module.to(device or "cpu")  # moves nothing, and has the trunk choose its attention for where it now is
        return module.eval()

    def save_pretrained(self, path: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which the reference's class reads as well.

        Both are written beside their places and then renamed into them, the configuration last.
        """
        directory = Path(path)
        directory.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        described = self.config.to_dict() | {
            "architectures": [self.reference_class],
            "dtype": str(next(iter(state.values())).dtype).removeprefix("torch.") if state else "float32",
        }
        described.pop("torch_dtype", None)  # the older name of dtype
        with _replacing(directory / CONFIG_FILE) as config_file, _replacing(directory / SAFETENSORS_FILE) as weights:
            save_file(to_file(state, *self.prefixes()), weights, metadata={"format": "pt"})
            config_file.write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def prefixes(cls) -> tuple[str, str]:
        """Give what stands before the trunk's and the head's names in this module."""
        return ("trunk.", "head.") if len(cls.parts) == 2 else ("", "")


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
    _match(open_weights(directory), config, kind, ("head",) if head_only else ("trunk", "head"))
    return config


def content_hash(path: str | Path) -> str:
    """Hash what a checkpoint directory makes of a text: configuration, weights and tokenizer files.

    Returns:
        The hex SHA-256 over each file's name, size and bytes; of two weights files, that which is loaded.

    Raises:
        CheckpointError: no such directory, no configuration, or no weights.
    """
    directory = Path(path)
    XLMConfig.from_pretrained(directory)
    digest = hashlib.sha256()
    names = (CONFIG_FILE, weights_path(directory).name, *TOKENIZER_FILES)
    for file in (directory / name for name in names):
        if file.is_file():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()


def trunk_hash(path: str | Path) -> str | None:
    """Hash the trunk's tensors alone, to tell whether a head was trained on the trunk it is to be run over.

    Returns:
        The hex SHA-256 over names, dtypes, shapes and values, whatever the file format; None for a directory that
        holds no trunk. The same numbers in another precision hash differently.
    """
    directory = Path(path)
    config = XLMConfig.from_pretrained(directory)
    weights = open_weights(directory)
    by_name = {canonical(name): name for name in weights.shapes}
    digest = hashlib.sha256()
    names = sorted(trunk_shapes(config).keys() & by_name.keys())
    for name in names:
        tensor = weights.read(by_name[name]).contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest() if names else None


def _match(weights: WeightsFile, config: XLMConfig, kind: Kind, parts: tuple[Part, ...]) -> dict[str, str]:
    """Compare a file's names and shapes with what a model needs.

    Returns:
        The file's name of each tensor to read, by canonical name.

    Raises:
        CheckpointError: everything that is wrong, in one line.
    """
    expected = expected_shapes(config, kind, parts)
    found: dict[str, str] = {}
    unexpected: list[str] = []
    misshapen: list[str] = []
    for file_name in sorted(weights.shapes):
        name, shape = canonical(file_name), weights.shapes[file_name]
        if name in found:
            unexpected.append(f"{file_name} {_spell(shape)} beside {found[name]}")
        elif name not in expected:
            if not is_bystander(name, config, kind, parts):
                unexpected.append(f"{file_name} {_spell(shape)}")
        else:
            found[name] = file_name
            if shape != expected[name]:
                misshapen.append(f"{file_name} is {_spell(shape)}, expected {_spell(expected[name])}")
            elif file_name in weights.not_floats:
                misshapen.append(f"{file_name} holds {weights.not_floats[file_name]}, expected floating point")
    absent = expected.keys() - found.keys() - implied_tensors(config, kind).keys()
    missing = [f"{name} {_spell(expected[name])}" for name in expected if name in absent]
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
    more = f" and {len(items) - _MAX_LISTED} more" if len(items) > _MAX_LISTED else ""
    return f"{what} {len(items)}: {', '.join(items[:_MAX_LISTED])}{more}" if items else ""


def _spell(shape: Iterable[int] | Shape) -> str:
    return str(list(shape))


@contextmanager
def _replacing(target: Path) -> Generator[Path]:
    """Give a temporary path that takes the target's place when all went well."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
