"""Names and shapes of the tensors in a checkpoint file, and their mapping to the tensors of the modules.

Checkpoints have the names of the 2019 code (`attentions.0.q_lin.weight`). If a file contains a head, the names of the
trunk have the prefix `transformer.`. Canonical names, which this module uses, are the names in a file without that
prefix. Modules have other names, and only this module maps one to the other.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from xlm_core.errors import FatalError, format_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from xlm_core.checkpoint.config import XLMConfig

Shape = tuple[int, ...]
ModelPart = Literal["trunk", "head"]
HeadKind = Literal[
    "sequence-classification",
    "token-classification",
    "question-answering",  # the beam-search head
    "question-answering-simple",
    "multiple-choice",
    "language-modeling",
]
ModelKind = Literal["trunk"] | HeadKind

TRUNK_PREFIX = "transformer."
_IGNORED = ("position_ids",)  # a buffer 0, 1, 2 … in older files
_LAYER_NUMBER = re.compile(r"[a-z]\w*\.(\d{1,9})\.")
_OLD_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms, in the first PyTorch files

# (pattern in files, template for files, pattern in modules, template for modules). q, k and v are fused, see _FUSED.
_RENAMED = [
    (re.compile(file.format(i=r"(\d+)")), file.format(i=r"\1"), re.compile(ours.format(i=r"(\d+)")), ours)
    for file, ours in (
        ("attentions.{i}.out_lin", "layers.{i}.attention.out"),
        ("layer_norm1.{i}", "layers.{i}.attention_norm"),
        ("ffns.{i}.lin1", "layers.{i}.ffn.lin1"),
        ("ffns.{i}.lin2", "layers.{i}.ffn.lin2"),
        ("layer_norm2.{i}", "layers.{i}.ffn_norm"),
    )
]
_FUSED = re.compile(r"layers\.(\d+)\.attention\.qkv\.(weight|bias)")


def canonical_name(file_name: str) -> str:
    """Remove the trunk's prefix from a name in a file, and convert old names of layer norms."""
    name = file_name.removeprefix(TRUNK_PREFIX)
    for old, new in _OLD_SUFFIXES.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _linear(name: str, num_out: int, num_in: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.weight": (num_out, num_in)} | ({f"{name}.bias": (num_out,)} if bias else {})


def _norm(name: str, dim: int) -> dict[str, Shape]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def trunk_shapes(config: XLMConfig) -> dict[str, Shape]:
    """Return the names and shapes of the trunk's tensors."""
    shapes = _embeddings(config)
    for i in range(config.n_layers):
        shapes |= _layer(config, i)
    return shapes


def is_trunk_tensor(name: str, config: XLMConfig) -> bool:
    """Whether `trunk_shapes` contains a name. Does not build the dictionary."""
    if number := _LAYER_NUMBER.match(name):
        i = int(number[1])
        return i < config.n_layers and name in _layer(config, i)
    return name in _embeddings(config)


def _embeddings(config: XLMConfig) -> dict[str, Shape]:
    dim = config.emb_dim
    shapes: dict[str, Shape] = {
        "embeddings.weight": (config.vocab_size, dim),
        "position_embeddings.weight": (config.max_position_embeddings, dim),
        **_norm("layer_norm_emb", dim),
    }
    if config.has_lang_embeddings:
        shapes["lang_embeddings.weight"] = (config.n_langs, dim)
    return shapes


def _layer(config: XLMConfig, i: int) -> dict[str, Shape]:
    dim = config.emb_dim
    shapes: dict[str, Shape] = {}
    for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
        shapes |= _linear(f"attentions.{i}.{name}", dim, dim)
    shapes |= _linear(f"ffns.{i}.lin1", 4 * dim, dim) | _linear(f"ffns.{i}.lin2", dim, 4 * dim)
    return shapes | _norm(f"layer_norm1.{i}", dim) | _norm(f"layer_norm2.{i}", dim)


def _summary(config: XLMConfig) -> dict[str, Shape]:
    if not config.summary_use_proj:
        return {}
    to_labels = config.summary_proj_to_labels and config.num_labels > 0
    width = config.num_labels if to_labels else config.emb_dim
    return _linear("sequence_summary.summary", width, config.emb_dim)


def _beam_answers(config: XLMConfig) -> dict[str, Shape]:
    dim = config.emb_dim
    return {
        **_linear("qa_outputs.start_logits.dense", 1, dim),
        **_linear("qa_outputs.end_logits.dense_0", dim, 2 * dim),
        **_norm("qa_outputs.end_logits.LayerNorm", dim),
        **_linear("qa_outputs.end_logits.dense_1", 1, dim),
        **_linear("qa_outputs.answer_class.dense_0", dim, 2 * dim),
        **_linear("qa_outputs.answer_class.dense_1", 1, dim, bias=False),
    }


def adaptive_softmax(config: XLMConfig) -> nn.AdaptiveLogSoftmaxWithLoss:
    """Build the adaptive softmax of a configuration with `asm`. torch defines the widths of its clusters.

    Raises:
        FatalError: torch cannot build the layer, for instance because many clusters and a large divisor overflow.
    """
    from torch import nn

    assert config.asm_cutoffs is not None  # XLMConfig requires both if asm is true
    assert config.asm_div_value is not None
    try:
        return nn.AdaptiveLogSoftmaxWithLoss(
            config.emb_dim, config.vocab_size, config.asm_cutoffs, div_value=config.asm_div_value, head_bias=True
        )
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise FatalError(
            f"configuration fields asm_cutoffs and asm_div_value: got {format_value(config.asm_cutoffs)} and"
            f" {config.asm_div_value}, expected values for an adaptive softmax: {str(error).partition(chr(10))[0]}"
        ) from None


def _word_predictions(config: XLMConfig) -> dict[str, Shape]:
    if not config.asm:
        return _linear("pred_layer.proj", config.vocab_size, config.emb_dim)
    from xlm_core.checkpoint.meta_init import on_meta_device

    with on_meta_device():
        softmax = adaptive_softmax(config)
    return {f"pred_layer.proj.{name}": tuple(tensor.shape) for name, tensor in softmax.state_dict().items()}


# Kind of head: the prefixes of its tensors' names, and a function that returns their names and shapes.
_HEADS: dict[str, tuple[tuple[str, ...], Callable[[XLMConfig], dict[str, Shape]]]] = {
    "sequence-classification": (("sequence_summary.summary.",), _summary),
    "token-classification": (("classifier.",), lambda c: _linear("classifier", c.num_labels, c.emb_dim)),
    "question-answering": (("qa_outputs.",), _beam_answers),
    "question-answering-simple": (("qa_outputs.",), lambda c: _linear("qa_outputs", c.num_labels, c.emb_dim)),
    "multiple-choice": (
        ("sequence_summary.summary.", "logits_proj."),
        lambda c: _summary(c) | _linear("logits_proj", 1, c.num_labels),
    ),
    "language-modeling": (("pred_layer.proj.",), _word_predictions),
}


def expected_shapes(config: XLMConfig, kind: ModelKind, parts: tuple[ModelPart, ...]) -> dict[str, Shape]:
    """Return the canonical names and shapes of the tensors that a checkpoint of this kind must contain."""
    if kind not in ("trunk", *get_args(HeadKind)):
        raise ValueError(f"kind: got {kind!r}, expected one of trunk, {', '.join(get_args(HeadKind))}")
    shapes = trunk_shapes(config) if "trunk" in parts else {}
    return shapes | (_HEADS[kind][1](config) if "head" in parts and kind != "trunk" else {})


def derivable_tensors(config: XLMConfig, kind: ModelKind) -> dict[str, Callable[[], Tensor] | str]:
    """Return the tensors that a file may omit: a function that computes one, or the tensor that it is tied to."""
    derivable: dict[str, Callable[[], Tensor] | str] = {**tied_tensors(config, kind)}
    if config.sinusoidal_embeddings:
        derivable["position_embeddings.weight"] = partial(_sinusoidal_table, config)
    return derivable


def _sinusoidal_table(config: XLMConfig) -> Tensor:
    from xlm_core.positions import sinusoidal_positions

    return sinusoidal_positions(config.max_position_embeddings, config.emb_dim)


def tied_tensors(config: XLMConfig, kind: ModelKind) -> dict[str, str]:
    """Return which tensors of the head are tied to which tensor of the trunk."""
    is_tied = kind == "language-modeling" and config.tie_word_embeddings and not config.asm
    return {"pred_layer.proj.weight": "embeddings.weight"} if is_tied else {}


def is_ignored_tensor(name: str, config: XLMConfig, kind: ModelKind, parts: tuple[ModelPart, ...]) -> bool:
    """Whether a tensor that is not needed is allowed in a file, because another XLM model has it."""
    own = _HEADS[kind][0] if kind != "trunk" and "head" in parts else ()
    others = {prefix for prefixes, _ in _HEADS.values() for prefix in prefixes} - set(own)
    return (
        name in _IGNORED
        or name.startswith(tuple(others))
        or ("trunk" not in parts and is_trunk_tensor(name, config))
        or (name == "lang_embeddings.weight" and not config.use_lang_emb)  # unused according to the configuration
        # tied embeddings are saved under this name too, even if an adaptive softmax does not use it
        or (name == "pred_layer.proj.weight" and config.asm)
    )


def module_sources(names: Iterable[str], trunk: str, head: str) -> dict[str, tuple[str, ...]]:
    """Return which tensors of a file make each tensor of a module: one, or a layer's q, k and v, which are fused.

    Args:
        names: canonical names of the tensors in the file.
        trunk, head: the prefixes of both parts in the module, such as `trunk.`; may be empty.
    """
    heads = tuple(prefix for prefixes, _ in _HEADS.values() for prefix in prefixes)
    sources: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name.startswith(heads):
            sources[head + name] = (name,)
        elif match := re.fullmatch(r"attentions\.(\d+)\.q_lin\.(weight|bias)", name):
            layer, leaf = match.groups()
            parts = (f"attentions.{layer}.{part}_lin.{leaf}" for part in "qkv")
            sources[f"{trunk}layers.{layer}.attention.qkv.{leaf}"] = tuple(parts)
        elif not re.fullmatch(r"attentions\.\d+\.[kv]_lin\.(weight|bias)", name):
            renamed = name
            for pattern, _, _, ours in _RENAMED:
                renamed = pattern.sub(ours.format(i=r"\1"), renamed)
            sources[trunk + renamed] = (name,)
    return sources


def module_to_file(state: Mapping[str, Tensor], trunk: str, head: str) -> dict[str, Tensor]:
    """Return the tensors of a file, the inverse of `module_sources`.

    Tensors of the trunk get the prefix `transformer.` if the module has a head too.
    """
    prefix = TRUNK_PREFIX if trunk else ""
    tensors: dict[str, Tensor] = {}
    heads = tuple(head + start for starts, _ in _HEADS.values() for start in starts)
    for full_name, tensor in state.items():
        if full_name.startswith(heads):
            tensors[full_name.removeprefix(head)] = tensor
            continue
        name = full_name.removeprefix(trunk)
        if match := _FUSED.fullmatch(name):
            layer, leaf = match.groups()
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                tensors[f"{prefix}attentions.{layer}.{part}_lin.{leaf}"] = rows
            continue
        for _, theirs, pattern, _ in _RENAMED:
            name = pattern.sub(theirs, name)
        tensors[prefix + name] = tensor
    return tensors
