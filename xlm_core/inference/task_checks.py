"""Check that a trunk or a head suits a task, by its configuration alone. Does not need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from xlm_core.decoding import parse_label_scheme
from xlm_core.errors import FatalError, format_count
from xlm_core.inference.heads import head_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlm_core.checkpoint import HeadKind, XLMConfig
    from xlm_core.decoding import LabelScheme, SchemeName

PoolingName = Literal["first", "mean", "last", "max"]
Problem = Literal["single-label", "multi-label", "regression"]

# The values of `problem_type` in a head's config.json.
_PROBLEMS: dict[str, Problem] = {
    "single_label_classification": "single-label",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}


def trained_problem(head: XLMConfig) -> Problem | None:
    """Return what a head was trained for; None if its configuration does not name it. One output is a regression."""
    problem_type = head.problem_type or ("regression" if head.num_labels == 1 else None)
    return None if problem_type is None else _PROBLEMS[problem_type]


def check_classification(head: XLMConfig, problem: Problem) -> None:
    """Check that a head was trained for a problem and has one output for each label.

    Raises:
        FatalError: it was not, or does not.
    """
    trained = trained_problem(head)
    if trained not in (None, problem):
        problem_type = head.problem_type or "regression"
        raise FatalError(
            f"text-classification: the head was trained for {problem_type}, got problem {problem}; set problem to "
            f"{trained}"
        )
    width = head.num_labels if head.summary_use_proj and head.summary_proj_to_labels else head.emb_dim
    if width != head.num_labels:
        raise FatalError(
            f"text-classification: the head's output has width {width}, expected {head.num_labels}, one score for "
            "each label; correct summary_use_proj and summary_proj_to_labels in its config.json"
        )


def check_layer(name: str, layer: int, config: XLMConfig, owner: str) -> None:
    """Check that a trunk has a layer.

    Args:
        name: what reads the layer, for the message.
        layer: its number; 0 is the embeddings, -1 the last layer.
        config: the trunk's configuration.
        owner: what the trunk is called in the message.

    Raises:
        FatalError: it does not.
    """
    if not -config.n_layers - 1 <= layer <= config.n_layers:
        raise FatalError(
            f"{name}: got layer {layer}, but the {owner} has {format_count(config.n_layers, 'layer')}; set layer to 0 "
            f"(embeddings) to {config.n_layers}, or -1 (last layer) to {-config.n_layers - 1}"
        )


def check_embedding(layers: Sequence[int], truncate_dim: int | None, config: XLMConfig) -> int:
    """Check that a trunk has the layers and dimensions of vectors, and return the number of dimensions.

    Raises:
        FatalError: it does not.
    """
    for layer in layers:
        check_layer("feature-extraction", layer, config, "checkpoint")
    dim = truncate_dim or config.emb_dim
    if dim > config.emb_dim:
        raise FatalError(
            f"feature-extraction: got truncate_dim {dim}, but the checkpoint's vectors have {config.emb_dim} "
            "dimensions; lower truncate_dim"
        )
    return dim


def read_label_scheme(head: XLMConfig, scheme: SchemeName) -> LabelScheme:
    """Return how the labels of a head mark entities.

    Raises:
        FatalError: they do not follow the scheme.
    """
    try:
        return parse_label_scheme(head_labels(head), scheme)
    except FatalError as error:
        raise FatalError(f"token-classification: {error}") from None


def check_answering(kind: HeadKind, head: XLMConfig) -> None:
    """Check that a head that scores starts and ends has these two outputs.

    Raises:
        FatalError: it has others.
    """
    if kind == "question-answering-simple" and head.num_labels != 2:
        raise FatalError(
            f"question-answering: the head has {head.num_labels} outputs, expected 2, for start and end; name a "
            "head that was trained to answer questions"
        )


def check_causal(trunk: XLMConfig) -> None:
    """Check that a trunk can continue texts.

    Raises:
        FatalError: it is masked.
    """
    if not trunk.causal:
        raise FatalError(
            "text-generation: the model is masked and cannot continue a text; use a causal checkpoint, or set "
            "the objective (in a job: model.objective) to causal if the checkpoint was trained that way"
        )


def check_masked(trunk: XLMConfig) -> None:
    """Check that a trunk can fill masks.

    Raises:
        FatalError: it is causal.
    """
    if trunk.causal:
        raise FatalError(
            "fill-mask: the model is causal and cannot use the text after a mask; use a masked checkpoint, or set "
            "the objective (in a job: model.objective) to masked if the checkpoint was trained that way"
        )
