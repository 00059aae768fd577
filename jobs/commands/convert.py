"""`xlm convert`: a checkpoint of any format, written in the field-standard layout."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import torch

import xlm_core
from xlm_core import FatalError, XLMModel
from xlm_core.checkpoint import CheckpointContents, find_original, inspect_checkpoint, write_checkpoint
from xlm_core.tokenizer import read_tokenizer_files, write_tokenizer_files

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.tokenizer import TokenizerFiles

_CLASSES = (
    xlm_core.XLMWithLMHeadModel,
    xlm_core.XLMForSequenceClassification,
    xlm_core.XLMForTokenClassification,
    xlm_core.XLMForQuestionAnswering,
    xlm_core.XLMForQuestionAnsweringSimple,
    xlm_core.XLMForMultipleChoice,
)


def convert(source: Path, target: Path, lowercase: bool | None = None) -> list[Path]:
    """Write a checkpoint as `config.json`, `model.safetensors`, `vocab.json`, `merges.txt` and `tokenizer_config.json`.

    Every tensor is kept as it is, bit for bit and of whatever head, under its present name. A source without a
    tokenizer gives a target without one. The target appears whole or not at all.

    Args:
        source: a directory in any format that can be read.
        target: a directory that is not there yet, or empty.
        lowercase: whether texts lose their capitals and accents, for a source that does not say it.

    Returns:
        What was written.

    Raises:
        FatalError: the target is not empty, or the source cannot be read.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FatalError(f"{target}: is there already; name a directory that is not there yet, or is empty")
    held = inspect_checkpoint(source)
    tokenizer = _read_tokenizer(source, lowercase)
    tensors = {
        name: held.weights.read(old).to(copy=True, memory_format=torch.contiguous_format)  # tied ones share memory
        for name, old in held.names.items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    incoming = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write_checkpoint(incoming, held.config, tensors, _architectures(held))
        if tokenizer is not None:
            write_tokenizer_files(incoming, tokenizer)
        incoming.replace(target)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return sorted(target.iterdir())


def _architectures(held: CheckpointContents) -> list[str]:
    """Name the reference's classes: those that the source names, or those that its tensors are enough for."""
    named = held.config.extra.get("architectures")
    return named or [c.reference_class for c in _CLASSES if c.kind in held.heads] or [XLMModel.reference_class]


def _read_tokenizer(source: Path, lowercase: bool | None) -> TokenizerFiles | None:
    if (source / "vocab.json").exists() or find_original(source) is not None:
        return read_tokenizer_files(source, lowercase)
    if lowercase is not None:
        raise FatalError(f"{source}: has no tokenizer of which --lowercase or --cased could be said")
    return None
