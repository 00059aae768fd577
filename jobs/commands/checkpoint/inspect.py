"""`xlm inspect`: describe a checkpoint: model, weights, heads, languages and tokenizer."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from jobs.console import print_json
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


@dataclass(frozen=True)
class HeadSummary:
    """A head. What it does not have is None.

    Attributes:
        kind: its kind.
        layer: the layer of the trunk that it reads; 0 the embeddings, -1 the last.
        labels: the names of its labels.
        label_scheme: how the labels of a token classification head are read.
        trained_languages: the languages that it was trained on, if they are known.
    """

    kind: str
    layer: int
    labels: list[str] | None
    label_scheme: str | None
    trained_languages: list[str] | None


@dataclass(frozen=True)
class TokenizerSummary:
    """A tokenizer, or why it cannot be used, alone or with the model."""

    tokens: int | None
    merges: int | None
    lowercase: bool | None
    problem: str | None
    warnings: list[str]


@dataclass(frozen=True)
class CheckpointSummary:
    """What is printed about a checkpoint. `languages` are the codes of lang2id, ordered by id."""

    checkpoint: str
    layers: int
    width: int
    attention_heads: int
    activation: str
    max_positions: int
    positions: str
    objective: str
    parameters: int
    tensors: int
    format: str
    dtypes: list[str]
    size_bytes: int
    heads: list[HeadSummary]
    has_trunk: bool
    vocabulary: int
    num_languages: int
    languages: list[str]
    has_language_embeddings: bool
    tokenizer: TokenizerSummary | None
    content_hash: str


def inspect(directory: Path, console: Console, name: str, *, as_json: bool = False) -> None:
    """Print the model, weights, heads, languages, tokenizer and content hash of a checkpoint.

    Args:
        directory: its directory.
        console: where to print.
        name: the name to print for it.
        as_json: print JSON instead of text.

    Raises:
        CheckpointError: there is no valid checkpoint. An invalid tokenizer is not an error, but part of the output.
    """
    summary = _summarize(directory, name)
    if as_json:
        print_json(asdict(summary))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in _describe(summary):
        table.add_row(title, Text(value))
    console.print(table)


def _summarize(directory: Path, name: str) -> CheckpointSummary:
    contents = inspect_checkpoint(directory)
    config, lang2id = contents.config, contents.config.lang2id or {}
    sizes = _tensor_sizes(contents)
    files = weights_files([file.name for file in directory.iterdir()])
    return CheckpointSummary(
        checkpoint=name,
        layers=config.n_layers,
        width=config.emb_dim,
        attention_heads=config.n_heads,
        activation="GELU" if config.gelu_activation else "ReLU",
        max_positions=config.max_position_embeddings,
        positions="sinusoidal" if config.sinusoidal_embeddings else "learned",
        objective="causal" if config.causal else "masked",
        parameters=sum(sizes),
        tensors=len(sizes),
        format=contents.weights.format_name,
        dtypes=[dtype for dtype, _ in Counter(contents.weights.dtypes.values()).most_common()],
        size_bytes=sum((directory / file).stat().st_size for file in files),
        heads=[_summarize_head(kind, contents) for kind in contents.heads],
        has_trunk=contents.has_trunk,
        vocabulary=config.vocab_size,
        num_languages=config.n_langs,
        languages=sorted(lang2id, key=lambda lang: lang2id[lang]),
        has_language_embeddings=config.has_lang_embeddings,
        tokenizer=_summarize_tokenizer(directory, config),
        content_hash=content_hash(directory),
    )


def _tensor_sizes(contents: CheckpointContents) -> list[int]:
    # A tensor that is tied to one of the trunk is not counted again.
    tied = {name for kind in contents.heads for name in tied_tensors(contents.config, kind)}
    skipped = tied if contents.has_trunk else set[str]()
    shapes = contents.weights.shapes
    return [math.prod(shapes[source]) for name, source in contents.names.items() if name not in skipped]


def _summarize_head(kind: str, contents: CheckpointContents) -> HeadSummary:
    if not kind.endswith("-classification"):
        return HeadSummary(kind, -1, None, None, None)
    labels = [contents.config.id2label[i] for i in range(contents.config.num_labels)]
    read_as = None
    if kind == "token-classification":
        scheme = parse_label_scheme(labels)
        read_as = "; ".join([scheme.describe(), *scheme.doubts])
    layer = contents.config.summary_layer if kind == "sequence-classification" else -1
    return HeadSummary(kind, layer, labels, read_as, contents.config.trained_langs)


def _summarize_tokenizer(directory: Path, config: XLMConfig) -> TokenizerSummary | None:
    if not has_tokenizer(directory):
        return None
    try:
        files = read_tokenizer_files(directory)
    except FatalError as error:
        return TokenizerSummary(None, None, None, f"not usable: {error}", [])
    problem, warnings = None, list(files.warnings)
    try:
        warnings += check_vocab_size(files.vocab, config.vocab_size, str(directory))
    except FatalError as error:
        problem, warnings = f"not usable with this model: {error}", []
    return TokenizerSummary(len(files.vocab), len(files.merges), files.lowercase, problem, warnings)


def _describe(summary: CheckpointSummary) -> Iterator[tuple[str, str]]:
    yield "checkpoint", summary.checkpoint
    heads = format_count(summary.attention_heads, "attention head")
    layers = format_count(summary.layers, "layer")
    yield "model", f"{layers}, width {summary.width:,}, {heads}, {summary.activation}"
    yield "positions", f"{summary.max_positions:,}, {summary.positions}"
    attended = {"causal": "tokens attend to earlier tokens", "masked": "tokens attend to all tokens"}
    yield "objective", f"{summary.objective}: {attended[summary.objective]}"
    yield "parameters", f"{summary.parameters:,} in {format_count(summary.tensors, 'tensor')}"
    yield "weights", f"{summary.format}, {', '.join(summary.dtypes)}, {decimal(summary.size_bytes)}"
    yield "heads", "\n".join(_describe_heads(summary)) or "none"
    yield "vocabulary", format_count(summary.vocabulary, "token")
    note = "" if summary.has_language_embeddings else "; the model has no language embeddings"
    codes = f": {_join_names(summary.languages)}" if summary.languages else ""
    yield "languages", f"{summary.num_languages:,}{note}{codes}"
    yield "tokenizer", "none" if summary.tokenizer is None else _describe_tokenizer(summary.tokenizer)
    yield "content hash", summary.content_hash


def _describe_heads(summary: CheckpointSummary) -> Iterator[str]:
    for head in summary.heads:
        names = (
            None if head.labels is None else f"{format_count(len(head.labels), 'label')}: {_join_names(head.labels)}"
        )
        yield f"{head.kind}: {names}" if names else head.kind
        if head.label_scheme is not None:
            yield f"(labels read as {head.label_scheme})"
        if head.layer != -1:
            yield f"(reads layer {head.layer} of the trunk{' (the embeddings)' * (head.layer == 0)})"
        if head.trained_languages is not None:
            yield f"(trained on texts in {_join_names(head.trained_languages)})"
    if not summary.has_trunk:
        yield "(no trunk: needs the trunk of another checkpoint)"


def _describe_tokenizer(tokenizer: TokenizerSummary) -> str:
    if tokenizer.tokens is None or tokenizer.merges is None:
        return tokenizer.problem or ""
    case = "lower-cased, without accents" if tokenizer.lowercase else "cased"
    description = f"{format_count(tokenizer.tokens, 'token')}, {format_count(tokenizer.merges, 'merge')}, {case}"
    if tokenizer.problem is not None:
        return f"{description}; {tokenizer.problem}"
    return "\n".join([description, *(f"(warning: {warning})" for warning in tokenizer.warnings)])


def _join_names(names: list[str]) -> str:
    more = f", … ({len(names):,})" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
