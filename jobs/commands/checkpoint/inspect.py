"""`xlm inspect`: describe a checkpoint: model, weights, heads, languages and tokenizer."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pipelines.formatting import format_count
from xlm_core import FatalError, XLMConfig, content_hash
from xlm_core.checkpoint import CheckpointContents, inspect_checkpoint, tied_tensors, weights_files
from xlm_core.decoding import parse_label_scheme
from xlm_core.tokenizer import check_vocab_size, has_tokenizer, read_tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

_MAX_NAMES = 40  # of languages, and of labels


def inspect(directory: Path, console: Console, name: str) -> None:
    """Print the model, weights, heads, languages, tokenizer and content hash of a checkpoint.

    Args:
        directory: its directory.
        console: where to print.
        name: the name to print for it.

    Raises:
        CheckpointError: there is no valid checkpoint. An invalid tokenizer is not an error, but part of the output.
    """
    contents = inspect_checkpoint(directory)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in [
        ("checkpoint", name),
        *_describe_model(contents.config),
        *_describe_weights(contents, directory),
        ("heads", "\n".join(_describe_heads(contents)) or "none"),
        ("vocabulary", format_count(contents.config.vocab_size, "token")),
        ("languages", _describe_languages(contents.config)),
        ("tokenizer", _describe_tokenizer(directory, contents.config)),
        ("content hash", content_hash(directory)),
    ]:
        table.add_row(title, Text(value))
    console.print(table)


def _describe_model(config: XLMConfig) -> Iterator[tuple[str, str]]:
    yield (
        "model",
        f"{format_count(config.n_layers, 'layer')}, width {config.emb_dim:,}, "
        f"{format_count(config.n_heads, 'attention head')}, {'GELU' if config.gelu_activation else 'ReLU'}",
    )
    kind = "sinusoidal" if config.sinusoidal_embeddings else "learned"
    yield "positions", f"{config.max_position_embeddings:,}, {kind}"
    attended = "causal: tokens attend to earlier tokens" if config.causal else "masked: tokens attend to all tokens"
    yield "objective", attended


def _describe_weights(contents: CheckpointContents, directory: Path) -> Iterator[tuple[str, str]]:
    shapes, dtypes = contents.weights.shapes, contents.weights.dtypes
    # A tensor that is tied to one of the trunk is not counted again.
    tied = {name for kind in contents.heads for name in tied_tensors(contents.config, kind)}
    skipped = tied if contents.has_trunk else set[str]()
    sizes = [math.prod(shapes[source]) for name, source in contents.names.items() if name not in skipped]
    yield "parameters", f"{sum(sizes):,} in {format_count(len(sizes), 'tensor')}"
    counts = Counter(dtypes.values())
    files = weights_files([file.name for file in directory.iterdir()])
    size = decimal(sum((directory / name).stat().st_size for name in files))
    yield "weights", f"{contents.weights.format_name}, {', '.join(name for name, _ in counts.most_common())}, {size}"


def _describe_heads(contents: CheckpointContents) -> Iterator[str]:
    labels = [contents.config.id2label[i] for i in range(contents.config.num_labels)]
    for kind in contents.heads:
        has_labels = kind.endswith("-classification")
        yield f"{kind}: {format_count(len(labels), 'label')}: {_join_names(labels)}" if has_labels else kind
        if kind == "token-classification":
            scheme = parse_label_scheme(labels)
            yield f"(labels read as {'; '.join([scheme.describe(), *scheme.doubts])})"
    if not contents.has_trunk:
        yield "(no trunk: needs the trunk of another checkpoint)"


def _describe_languages(config: XLMConfig) -> str:
    lang2id = config.lang2id or {}
    codes = sorted(lang2id, key=lambda lang: lang2id[lang])
    note = "" if config.has_lang_embeddings else "; the model has no language embeddings"
    return f"{config.n_langs:,}{note}{': ' if codes else ''}{_join_names(codes)}"


def _describe_tokenizer(directory: Path, config: XLMConfig) -> str:
    if not has_tokenizer(directory):
        return "none"
    try:
        files = read_tokenizer_files(directory)
    except FatalError as error:
        return f"not usable: {error}"
    case = "lower-cased, without accents" if files.lowercase else "cased"
    description = f"{format_count(len(files.vocab), 'token')}, {format_count(len(files.merges), 'merge')}, {case}"
    try:
        warnings = [*files.warnings, *check_vocab_size(files.vocab, config.vocab_size, str(directory))]
    except FatalError as error:
        return f"{description}; not usable with this model: {error}"
    return "\n".join([description, *(f"(warning: {warning})" for warning in warnings)])


def _join_names(names: list[str]) -> str:
    more = f", … ({len(names):,})" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
