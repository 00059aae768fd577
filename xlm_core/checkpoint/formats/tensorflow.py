"""Weights of the former TensorFlow classes: `tf_model.h5`, and the names and layouts that those classes used.

    transformer/tfxlm_model/transformer/attentions_._0/q_lin/kernel:0   is   transformer.attentions.0.q_lin.weight

What stands before the last name of a part is Keras' own. A kernel is a linear layer's weight, transposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from xlm_core.checkpoint.formats.tensors import Weights, broken, check_start
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_PARTS = ("transformer", "pred_layer.proj", "sequence_summary", "logits_proj", "classifier", "qa_outputs")
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}
_KIND = "a Keras weights file"


def open_h5(path: Path) -> Weights:
    """Open a `tf_model.h5`; values stay on disk until they are read.

    Links to other files are not followed, and a dataset whose values are not in this file counts as no weight.

    Raises:
        CheckpointError: the file is cut off or something else, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError(
            f"{path}: reading TensorFlow weights needs h5py; pip install 'xlm-batch[tensorflow-checkpoints]'"
        ) from None
    check_start(path)
    datasets: dict[str, Any] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    try:
        file = h5py.File(path, "r")
        file.visititems(note)  # hard links only
        shapes = {name: tuple(dataset.shape or ()) for name, dataset in datasets.items()}
        dtypes = {name: _kind(dataset) for name, dataset in datasets.items()}
    except Exception as error:  # a damaged file raises whatever its damage leads to
        raise broken(path, _KIND, error) from None

    def read(name: str) -> Tensor:
        try:
            return torch.from_numpy(datasets[name][()])
        except OSError as error:
            raise broken(path, _KIND, f"{name}: {error}") from None

    return from_tensorflow(Weights(path, "TensorFlow (.h5)", shapes, dtypes, read))


def from_tensorflow(weights: Weights) -> Weights:
    """See weights under TensorFlow's names and in its layout as those of the PyTorch classes.

    Shared word vectors may stand under two names; reading them proves that they are the same.
    """
    sources: dict[str, list[str]] = {}
    for source in weights.shapes:
        sources.setdefault(_rename(source), []).append(source)
    shapes = {name: _shape(weights, twins[0]) for name, twins in sources.items()}

    def read(name: str) -> Tensor:
        first, *others = (weights.read(source) for source in sources[name])
        if not all(torch.equal(first, other) for other in others):
            raise CheckpointError(f"{weights.path}: holds {' and '.join(sources[name])} with different values")
        return first.T if _is_kernel(sources[name][0]) else first

    dtypes = {name: weights.dtypes[twins[0]] for name, twins in sources.items()}
    return Weights(weights.path, weights.form, shapes, dtypes, read)


def _rename(source: str) -> str:
    *modules, leaf = source.removesuffix(":0").replace("_._", ".").split("/")
    starts = [i for i, module in enumerate(modules) if module in _PARTS]
    if not starts:
        return source
    return ".".join([*modules[starts[-1] :], _LEAVES.get(leaf, leaf)])


def _is_kernel(source: str) -> bool:
    return source.removesuffix(":0").endswith("/kernel")


def _shape(weights: Weights, source: str) -> tuple[int, ...]:
    shape = weights.shapes[source]
    return shape[::-1] if _is_kernel(source) else shape


def _kind(dataset: Any) -> str:
    """Give a dataset's dtype, or what makes it no weight; Keras lays values out in full, in the file itself."""
    if dataset.is_virtual or dataset.external or dataset.id.get_storage_size() < dataset.nbytes:
        return "fewer values than its shape says"
    return str(dataset.dtype)
