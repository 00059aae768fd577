"""Check and load the heads of tasks. A head is in the trunk's checkpoint, or in a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from xlm_core.errors import CheckpointError, FatalError

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.checkpoint import HeadKind, PretrainedModule, XLMConfig
    from xlm_core.heads import LanguageModelHead
    from xlm_core.inference.model import Model

HeadT = TypeVar("HeadT", bound="PretrainedModule")


def read_head_config(task: str, kind: HeadKind, folder: Path, trunk: XLMConfig) -> XLMConfig:
    """Check that a directory has a head of a kind that fits the trunk, and return the head's configuration.

    Args:
        task: the name of the task in error messages.
        kind: the kind of head.
        folder: the directory with the head, which may contain a trunk.
        trunk: the trunk's configuration.

    Raises:
        FatalError: the head is missing, was trained with a model of another width or vocabulary, or has weights that
            are not finite.
    """
    from xlm_core.checkpoint import check_checkpoint, check_finite

    try:
        head = check_checkpoint(folder, kind, head_only=True)
    except CheckpointError as error:
        raise CheckpointError(f"{task}: {error}") from None
    if head.emb_dim != trunk.emb_dim:
        raise FatalError(
            f"{task}: {folder} is made for a model of width {head.emb_dim}, but the checkpoint's is {trunk.emb_dim}; "
            "name a head that was trained on this checkpoint"
        )
    if kind == "sequence-classification" and not -trunk.n_layers - 1 <= head.summary_layer <= trunk.n_layers:
        raise FatalError(
            f"{task}: {folder} reads layer {head.summary_layer}, but the checkpoint has "
            f"{trunk.n_layers}; name a head that was trained on this checkpoint"
        )
    check_finite(folder, kind, head_only=True)
    if kind == "language-modeling" and head.vocab_size != trunk.vocab_size:
        raise FatalError(
            f"{task}: {folder} has {head.vocab_size} words, the checkpoint {trunk.vocab_size}; name a head that was "
            "trained on this checkpoint"
        )
    return head


def answering_kind(folder: Path) -> HeadKind:
    """Return which kind of question answering head a directory contains, of the two kinds."""
    from xlm_core.checkpoint import inspect_checkpoint

    uses_beams = "question-answering" in inspect_checkpoint(folder).heads
    return "question-answering" if uses_beams else "question-answering-simple"


def head_labels(head: XLMConfig) -> list[str]:
    """Return the labels of a head, in the order of their ids."""
    return [head.id2label[i] for i in range(head.num_labels)]


def load_head(head_class: type[HeadT], folder: Path, model: Model) -> HeadT:
    """Load a head in float32, on the trunk's device. Heads are small."""
    return head_class.from_pretrained(folder, device=model.device)


def load_language_model_head(folder: Path, model: Model) -> LanguageModelHead:
    """Load a language model head in the trunk's precision, sharing the trunk's embeddings if the checkpoint does."""
    from xlm_core.heads import LanguageModelHead

    embeddings = model.trunk.embeddings
    head = LanguageModelHead.from_pretrained(folder, dtype=model.dtype, device=model.device)
    if head.config.tie_word_embeddings and folder == model.checkpoint:
        head.tie(embeddings)
    return head
