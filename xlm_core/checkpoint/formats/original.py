"""The original release of 2019: one `.pth` with model, settings and vocabulary, and the merges in a `codes` file.

The `.pth` is a pickle of a dictionary: `model` is a state dict, `params` are the settings of the training run, and
`dico_word2id` is the vocabulary, in which `@@` marks a subword that does not end its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from xlm_core.checkpoint.formats.pytorch import load_pickle, weights_from_mapping
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.checkpoint.formats.weights import Weights

_POSITIONS = "position_embeddings.weight"
_REQUIRED = ("emb_dim", "n_layers", "n_heads", "n_words", "n_langs", "gelu_activation", "sinusoidal_embeddings")
# The settings of the training run that affect results, and their names in the configuration.
_SETTINGS = {
    **{
        name: name for name in (*_REQUIRED, "dropout", "attention_dropout", "use_lang_emb", "lang2id", "id2lang", "asm")
    },
    **{name: name for name in ("bos_index", "eos_index", "pad_index", "unk_index", "mask_index")},
    "share_inout_emb": "tie_word_embeddings",
}
_ASM_SETTINGS = ("asm_cutoffs", "asm_div_value")  # present without asm too, where they have no effect


@dataclass(frozen=True)
class OriginalRelease:
    """The content of a `.pth`."""

    weights: Weights
    settings: dict[str, Any]  # the content of a config.json
    word2id: dict[str, int]  # as in the file, with its `@@` marks


def read_original(path: Path) -> OriginalRelease:
    """Read a `.pth` of the original release. Only tensors and plain values are accepted in it.

    Raises:
        CheckpointError: the file is truncated, is something else, would run code, or is a translation model.
    """
    with torch.serialization.safe_globals(_numpy_globals()):
        content = load_pickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected the original release's dictionary, got a {type(content).__name__}")
    content_by_name = cast("Mapping[str, Any]", content)
    if "encoder" in content_by_name or "decoder" in content_by_name:
        raise CheckpointError(
            f"{path}: is a translation model, with an encoder and a decoder; expected a language model, under `model`"
        )
    for name in ("model", "params", "dico_word2id"):
        if not isinstance(content_by_name.get(name), Mapping):
            raise CheckpointError(
                f"{path}: expected the original release's dictionary with model, params and dico_word2id; {name} is"
                f" {'not a dictionary' if name in content_by_name else 'missing'}"
            )
    state = {str(name).removeprefix("module."): tensor for name, tensor in content_by_name["model"].items()}
    weights = weights_from_mapping(path, state, "original release (.pth)")
    return OriginalRelease(
        weights, _settings(weights, content_by_name["params"]), _vocabulary(path, content_by_name["dico_word2id"])
    )


def _settings(weights: Weights, params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the settings of the training run to those of a `config.json`. They do not include the objective."""
    missing = [name for name in _REQUIRED if name not in params]
    if missing:
        raise CheckpointError(f"{weights.path}: its params do not have {', '.join(missing)}; is this an XLM model?")
    if len(weights.shapes.get(_POSITIONS, ())) != 2:
        raise CheckpointError(f"{weights.path}: its model does not have {_POSITIONS}; is this an XLM model?")
    values = {field: _plain(params[name]) for name, field in _SETTINGS.items() if name in params}
    if values.get("asm"):
        values |= {name: _plain(params[name]) for name in _ASM_SETTINGS if name in params}
    has_lm_head = any(name.startswith("pred_layer.") for name in weights.shapes)
    return values | {
        "max_position_embeddings": weights.shapes[_POSITIONS][0],
        "architectures": ["XLMWithLMHeadModel" if has_lm_head else "XLMModel"],
    }


def _vocabulary(path: Path, word2id: Mapping[str, Any]) -> dict[str, int]:
    """Check that ids are integers, and convert them to Python ints."""
    ids = {word: _plain(number) for word, number in word2id.items()}
    for word, number in ids.items():
        if type(number) is not int:
            raise CheckpointError(
                f"{path}: dico_word2id: got {number!r} as the id of {word!r}, expected a whole number"
            )
    return ids


def _plain(value: Any) -> Any:
    """Convert numpy numbers and arrays to Python values."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _numpy_globals() -> list[Any]:
    """List the globals that numpy numbers and arrays need in a pickle, under numpy's old and new module names."""
    scalar, (reconstruct, *_) = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()
    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [
        np.ndarray,
        np.dtype,
        *dtypes,
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    ]
