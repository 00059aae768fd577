"""`xlm inspect`: what a checkpoint is, on one screen."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pipelines.formatting import format_count
from xlm_core import FatalError, XLMConfig, content_hash
from xlm_core.checkpoint import CheckpointContents, find_original, inspect_checkpoint, tied_tensors, weights_files
from xlm_core.tokenizer import read_tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

_MAX_LISTED = 40  # languages, and labels


def inspect(directory: Path, console: Console, name: str) -> None:
    """Print what a checkpoint directory holds: model, weights, heads, languages, tokenizer and content hash.

    Args:
        directory: where it lies.
        console: where it is printed.
        name: what a person called it.

    Raises:
        CheckpointError: it holds no checkpoint. A tokenizer that cannot be used is told as part of the screen.
    """
    held = inspect_checkpoint(directory)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in [
        ("checkpoint", name),
        *_model(held.config),
        *_weights(held, directory),
        ("heads", "\n".join(_heads(held)) or "none"),
        ("vocabulary", f"{held.config.vocab_size:,} words"),
        ("languages", _languages(held.config)),
        ("tokenizer", _tokenizer(directory, held.config)),
        ("content hash", content_hash(directory)),
    ]:
        table.add_row(title, Text(value))
    console.print(table)


def _model(config: XLMConfig) -> Iterator[tuple[str, str]]:
    yield (
        "model",
        f"{format_count(config.n_layers, 'layer')}, width {config.emb_dim:,}, {format_count(config.n_heads, 'attention head')},"
        f" {'GELU' if config.gelu_activation else 'ReLU'}",
    )
    kind = "sinusoidal" if config.sinusoidal_embeddings else "learnt"
    yield "positions", f"{config.max_position_embeddings:,}, {kind}"
    yield "objective", "causal: a token sees those before it" if config.causal else "masked: a token sees all others"


def _weights(held: CheckpointContents, directory: Path) -> Iterator[tuple[str, str]]:
    shapes, dtypes = held.weights.shapes, held.weights.dtypes
    copies = {name for kind in held.heads for name in tied_tensors(held.config, kind)} if held.has_trunk else set[str]()
    sizes = [math.prod(shapes[source]) for name, source in held.names.items() if name not in copies]
    yield "parameters", f"{sum(sizes):,} in {format_count(len(sizes), 'tensor')}"
    counts = Counter(dtypes.values())
    files = weights_files([file.name for file in directory.iterdir()])
    size = decimal(sum((directory / name).stat().st_size for name in files))
    yield "weights", f"{held.weights.format_name}, {', '.join(name for name, _ in counts.most_common())}, {size}"


def _heads(held: CheckpointContents) -> Iterator[str]:
    labels = [held.config.id2label[i] for i in range(held.config.num_labels)]
    for kind in held.heads:
        has_labels = kind.endswith("-classification")
        yield f"{kind}: {format_count(len(labels), 'label')}: {_some(labels)}" if has_labels else kind
    if not held.has_trunk:
        yield "(no trunk: to be run over another checkpoint's)"


def _languages(config: XLMConfig) -> str:
    lang2id = config.lang2id or {}
    codes = sorted(lang2id, key=lambda lang: lang2id[lang])
    fed = "" if config.has_lang_embeddings else "; the model is not told which"
    return f"{config.n_langs:,}{fed}{': ' if codes else ''}{_some(codes)}"


def _tokenizer(directory: Path, config: XLMConfig) -> str:
    if not (directory / "vocab.json").exists() and find_original(directory) is None:
        return "none"
    try:
        files = read_tokenizer_files(directory)
    except FatalError as error:
        return f"not usable: {error}"
    case = "lower-cased, without accents" if files.lowercase else "cased"
    about = f"{len(files.vocab):,} tokens, {len(files.merges):,} merges, {case}"
    highest = max(files.vocab.values(), default=-1)
    return about if highest < config.vocab_size else f"not this model's, its ids go up to {highest:,}: {about}"


def _some(names: list[str]) -> str:
    more = f", … ({len(names):,})" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
