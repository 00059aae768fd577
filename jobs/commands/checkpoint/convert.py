"""`xlm convert`: convert a checkpoint of any supported format to the layout of Hugging Face checkpoints."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import torch
from rich.filesize import decimal

import xlm_core
from xlm_core import FatalError, XLMModel
from xlm_core.checkpoint import CheckpointContents, inspect_checkpoint, write_checkpoint
from xlm_core.tokenizer import LOWERCASE_KEY, has_tokenizer, read_tokenizer_files, write_tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

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
    """Write a checkpoint as `config.json`, `model.safetensors` and the tokenizer's files.

    All tensors of all heads are copied without any change of values or precision, and old names are replaced by current
    ones. If the source has no tokenizer, neither has the target. The target is written atomically.

    Args:
        source: a directory with a checkpoint in any supported format.
        target: a directory that does not exist or is empty.
        lowercase: whether the tokenizer lower-cases texts and removes accents; for sources that do not record this.

    Returns:
        The files that were written.

    Raises:
        FatalError: the target is not empty, or the source cannot be read.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FatalError(f"{target}: exists already; name a directory that does not exist or is empty")
    contents = inspect_checkpoint(source)
    tokenizer = _read_tokenizer(source, lowercase)
    tensors = {
        # copied, because tied tensors share memory and safetensors refuses to save such tensors
        name: contents.weights.read(old).to(copy=True, memory_format=torch.contiguous_format)
        for name, old in contents.names.items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write_checkpoint(temporary, contents.config, tensors, _architectures(contents))
        if tokenizer is not None:
            write_tokenizer_files(temporary, tokenizer)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(target.iterdir())


def print_files(files: Iterable[Path], console: Console) -> None:
    """Print each file with its size."""
    for file in files:
        console.print(f"{file}  {decimal(file.stat().st_size)}", highlight=False, markup=False)


def _architectures(contents: CheckpointContents) -> list[str]:
    """Return the class names for config.json: those in the source's config.json, or those that its heads allow."""
    names = contents.config.extra.get("architectures")
    return names or [c.reference_class for c in _CLASSES if c.kind in contents.heads] or [XLMModel.reference_class]


def _read_tokenizer(source: Path, lowercase: bool | None) -> TokenizerFiles | None:
    flag = "--lowercase" if lowercase else "--cased"
    if not has_tokenizer(source):
        if lowercase is not None:
            raise FatalError(f"{source}: has no tokenizer; remove {flag}")
        return None
    files = read_tokenizer_files(source, lowercase)
    if lowercase not in (None, files.lowercase):
        raise FatalError(f"{source}: {LOWERCASE_KEY} is {files.lowercase}, not {lowercase}; remove {flag}")
    return files
