"""Which files of a directory make a checkpoint: configuration, weights and tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

CONFIG_FILE = "config.json"

SAFETENSORS_FILE = "model.safetensors"
BIN_FILE = "pytorch_model.bin"
H5_FILE = "tf_model.h5"
INDEX_SUFFIX = ".index.json"
_ORIGINAL_SUFFIX = ".pth"

# Weights are read from the first of these that exists, or else from the directory's only .pth (original release).
_WEIGHTS_FILES = (SAFETENSORS_FILE, SAFETENSORS_FILE + INDEX_SUFFIX, BIN_FILE, BIN_FILE + INDEX_SUFFIX, H5_FILE)

VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

_TOKENIZER_FILES = (
    VOCAB_FILE,
    MERGES_FILE,
    "tokenizer.json",  # not read here, but hashed and fetched
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
)


def needed_files(names: Collection[str]) -> list[str]:
    """Choose the files of a checkpoint from the file names of a directory.

    Returns:
        Configuration, weights of the one format that is loaded, and tokenizer files, as far as they exist.
    """
    config = [CONFIG_FILE] if CONFIG_FILE in names else []
    return [*config, *weights_files(names), *(name for name in _TOKENIZER_FILES if name in names)]


def weights_path(directory: Path) -> Path:
    """Return the path of the file that `open_weights` opens.

    Raises:
        CheckpointError: the directory has no weights.
    """
    name = _choose_weights([file.name for file in directory.iterdir()])
    if name is None:
        raise CheckpointError(
            f"{directory}: has no weights; expected one of {', '.join(_WEIGHTS_FILES)}, or a single .pth of the "
            "original release"
        )
    return directory / name


def find_original(directory: Path) -> Path | None:
    """Return the path of the original release's `.pth`, or None if the directory has other weights or none."""
    name = _choose_weights([file.name for file in directory.iterdir()])
    return None if name is None or name in _WEIGHTS_FILES else directory / name


def weights_files(names: Collection[str]) -> list[str]:
    """Choose the weights of a checkpoint, in one format, from the file names of a directory.

    Returns:
        The weights file; or an index and its shards; or a `.pth` and its `codes`; or nothing if there are no weights.
    """
    name = _choose_weights(names)
    if name is None:
        return []
    if name.endswith(INDEX_SUFFIX):
        return [name, *sorted(other for other in names if is_shard(other, name))]
    return [name] if name in _WEIGHTS_FILES else [name, *codes_files(names)]


def is_shard(name: str, index: str) -> bool:
    """Whether a file name is a shard of an index, such as `model-00001-of-00003.safetensors`."""
    stem, _, suffix = index.removesuffix(INDEX_SUFFIX).partition(".")
    return re.fullmatch(rf"{re.escape(stem)}-[0-9]{{1,9}}-of-[0-9]{{1,9}}\.{re.escape(suffix)}", name) is not None


def codes_files(names: Collection[str]) -> list[str]:
    """Choose the files with the merges of an original release from the file names of a directory."""
    return sorted(name for name in names if name.startswith("codes"))


def _choose_weights(names: Collection[str]) -> str | None:
    for name in _WEIGHTS_FILES:
        if name in names:
            return name
    originals = [name for name in names if name.endswith(_ORIGINAL_SUFFIX)]
    return originals[0] if len(originals) == 1 else None
