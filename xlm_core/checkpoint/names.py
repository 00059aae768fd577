"""The names and shapes of the tensors in a checkpoint file, and how they map to the modules'.

Checkpoints keep the names of the 2019 code (`attentions.0.q_lin.weight`), with `transformer.` before those of
the trunk when the file holds a head as well. Modules have names of their own; this file is the only one
that knows both. Names here are the file's without `transformer.`, unless said otherwise.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.meta_init import shapes_only
from xlm_core.errors import FatalError, shown
from xlm_core.positions import sinusoidal_positions

Shape = tuple[int, ...]
Part = Literal["trunk", "head"]
HeadKind = Literal[
    "sequence-classification",
    "token-classification",
    "question-answering",  # the beam-search head
    "question-answering-simple",
    "multiple-choice",
    "language-modeling",
]
Kind = Literal["trunk"] | HeadKind

TRUNK_PREFIX = "transformer."
_IGNORED = ("position_ids",)  # a buffer 0, 1, 2 … that older files carry
_LAYER_NUMBER = re.compile(r"[a-z]\w*\.(\d{1,9})\.")
_OLD_LEAVES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms, in the first PyTorch files

# (file's pattern, file's template, module's pattern, module's template); q, k and v are fused, see below
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


def canonical(file_name: str) -> str:
    """Drop the trunk's prefix from a name as it stands in a file, and give layer norms their present names."""
    name = file_name.removeprefix(TRUNK_PREFIX)
    for old, new in _OLD_LEAVES.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _linear(name: str, num_out: int, num_in: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.weight": (num_out, num_in)} | ({f"{name}.bias": (num_out,)} if bias else {})


def _norm(name: str, dim: int) -> dict[str, Shape]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def trunk_shapes(config: XLMConfig) -> dict[str, Shape]:
    """List the trunk's tensors."""
    shapes = _embeddings(config)
    for i in range(config.n_layers):
        shapes |= _layer(config, i)
    return shapes


def is_trunk_tensor(name: str, config: XLMConfig) -> bool:
    """Tell whether `trunk_shapes` lists a name, without making the list."""
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
    """Build the layer that `asm` asks for; torch's code is where the widths of its clusters are defined.

    Raises:
        FatalError: it has no such layer, for instance since many clusters and a large divisor pass all numbers.
    """
    assert config.asm_cutoffs is not None  # XLMConfig wants both where asm is true
    assert config.asm_div_value is not None
    try:
        return nn.AdaptiveLogSoftmaxWithLoss(
            config.emb_dim, config.vocab_size, config.asm_cutoffs, div_value=config.asm_div_value, head_bias=True
        )
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise FatalError(
            f"configuration fields asm_cutoffs and asm_div_value: got {shown(config.asm_cutoffs)} and"
            f" {config.asm_div_value}, of which no adaptive softmax can be made: {str(error).partition(chr(10))[0]}"
        ) from None


def _words(config: XLMConfig) -> dict[str, Shape]:
    if not config.asm:
        return _linear("pred_layer.proj", config.vocab_size, config.emb_dim)
    with shapes_only():
        softmax = adaptive_softmax(config)
    return {f"pred_layer.proj.{name}": tuple(tensor.shape) for name, tensor in softmax.state_dict().items()}


# Per kind: where its tensors' names begin, and the tensors themselves.
_HEADS: dict[str, tuple[tuple[str, ...], Callable[[XLMConfig], dict[str, Shape]]]] = {
    "sequence-classification": (("sequence_summary.summary.",), _summary),
    "token-classification": (("classifier.",), lambda c: _linear("classifier", c.num_labels, c.emb_dim)),
    "question-answering": (("qa_outputs.",), _beam_answers),
    "question-answering-simple": (("qa_outputs.",), lambda c: _linear("qa_outputs", c.num_labels, c.emb_dim)),
    "multiple-choice": (
        ("sequence_summary.summary.", "logits_proj."),
        lambda c: _summary(c) | _linear("logits_proj", 1, c.num_labels),
    ),
    "language-modeling": (("pred_layer.proj.",), _words),
}


def expected_shapes(config: XLMConfig, kind: Kind, parts: tuple[Part, ...]) -> dict[str, Shape]:
    """List the tensors that a checkpoint of `kind` must hold."""
    if kind not in ("trunk", *get_args(HeadKind)):
        raise ValueError(f"kind: got {kind!r}, expected one of trunk, {', '.join(get_args(HeadKind))}")
    shapes = trunk_shapes(config) if "trunk" in parts else {}
    return shapes | (_HEADS[kind][1](config) if "head" in parts and kind != "trunk" else {})


def implied_tensors(config: XLMConfig, kind: Kind) -> dict[str, Callable[[], Tensor] | str]:
    """Tell which tensors a file may leave out: how to compute one, or the name of its twin."""
    implied: dict[str, Callable[[], Tensor] | str] = {**twins(config, kind)}
    if config.sinusoidal_embeddings:
        implied["position_embeddings.weight"] = lambda: sinusoidal_positions(
            config.max_position_embeddings, config.emb_dim
        )
    return implied


def twins(config: XLMConfig, kind: Kind) -> dict[str, str]:
    """Tell which tensors are tied to another: a head's by the trunk's."""
    is_tied = kind == "language-modeling" and config.tie_word_embeddings and not config.asm
    return {"pred_layer.proj.weight": "embeddings.weight"} if is_tied else {}


def is_bystander(name: str, config: XLMConfig, kind: Kind, parts: tuple[Part, ...]) -> bool:
    """Tell whether a tensor that is not asked for may stand in the file: another part of the same family."""
    own = _HEADS[kind][0] if kind != "trunk" and "head" in parts else ()
    others = {prefix for prefixes, _ in _HEADS.values() for prefix in prefixes} - set(own)
    return (
        name in _IGNORED
        or name.startswith(tuple(others))
        or ("trunk" not in parts and is_trunk_tensor(name, config))
        or (name == "lang_embeddings.weight" and not config.use_lang_emb)  # the config says not to use it
        or (
            name == "pred_layer.proj.weight" and config.asm
        )  # tying names the embeddings so, also where nothing reads it
    )


def to_module(tensors: Mapping[str, Tensor], trunk: str, head: str) -> dict[str, Tensor]:
    """Rename a file's tensors to the module's, and fuse each layer's q, k and v.

    Args:
        tensors: by canonical name.
        trunk, head: what stands before the names of each in the module, `trunk.` or nothing.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(tuple(prefix for prefixes, _ in _HEADS.values() for prefix in prefixes)):
            state[head + name] = tensor
        elif match := re.fullmatch(r"attentions\.(\d+)\.q_lin\.(weight|bias)", name):
            layer, leaf = match.groups()
            rows = [tensors[f"attentions.{layer}.{part}_lin.{leaf}"] for part in "qkv"]
            state[f"{trunk}layers.{layer}.attention.qkv.{leaf}"] = torch.cat(rows)
        elif not re.fullmatch(r"attentions\.\d+\.[kv]_lin\.(weight|bias)", name):
            for pattern, _, _, ours in _RENAMED:
                name = pattern.sub(ours.format(i=r"\1"), name)
            state[trunk + name] = tensor
    return state


def to_file(state: Mapping[str, Tensor], trunk: str, head: str) -> dict[str, Tensor]:
    """Undo `to_module`; trunk tensors get `transformer.` where the module holds a head as well."""
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
