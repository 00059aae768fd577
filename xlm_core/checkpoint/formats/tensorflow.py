"""Weights of the former TensorFlow classes, with their names and layouts: `tf_model.h5`.

    transformer/tfxlm_model/transformer/attentions_._0/q_lin/kernel:0  →  transformer.attentions.0.q_lin.weight

The prefix up to the last name in _MODEL_PARTS is added by Keras. A kernel is the transposed weight of a linear layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xlm_core.checkpoint.formats.weights import Weights, check_first_bytes, damaged_file_error
from xlm_core.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MODEL_PARTS = ("transformer", "pred_layer.proj", "sequence_summary", "logits_proj", "classifier", "qa_outputs")
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}
_KIND = "a Keras weights file"


def open_keras(path: Path) -> Weights:
    """Open a `tf_model.h5`. Values stay on disk until they are read.

    Links to other files are not followed, and a dataset whose values are in another file cannot be used as a weight.

    Raises:
        CheckpointError: the file is truncated or not a Keras weights file, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError(
            f"{path}: reading TensorFlow weights needs h5py, which is not installed;"
            " pip install 'xlm-batch[tensorflow-checkpoints]'"
        ) from None
    check_first_bytes(path)
    datasets: dict[str, Any] = {}

    def add_dataset(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    try:
        file = h5py.File(path, "r")
        file.visititems(add_dataset)  # follows hard links only
        shapes = {name: tuple(dataset.shape or ()) for name, dataset in datasets.items()}
        dtypes = {name: _dtype_or_defect(dataset) for name, dataset in datasets.items()}
    except Exception as error:  # a damaged file can raise any exception
        raise damaged_file_error(path, _KIND, error) from None

    def values(name: str) -> NDArray[Any]:
        try:
            return datasets[name][()]
        except OSError as error:
            raise damaged_file_error(path, _KIND, f"{name}: {error}") from None

    return from_tensorflow(Weights(path, "TensorFlow (.h5)", shapes, dtypes, values))


def from_tensorflow(weights: Weights) -> Weights:
    """Convert weights with TensorFlow's names and layouts to those of the PyTorch classes.

    Shared word vectors can have two names. They are compared when they are read.
    """
    sources: dict[str, list[str]] = {}
    for source in weights.shapes:
        sources.setdefault(_rename(source), []).append(source)
    shapes = {name: _shape(weights, names[0]) for name, names in sources.items()}

    def values(name: str) -> NDArray[Any]:
        first, *others = (weights.values(source) for source in sources[name])
        if not all(np.array_equal(first, other) for other in others):
            raise CheckpointError(f"{weights.path}: {' and '.join(sources[name])} have different values")
        return first.T if _is_kernel(sources[name][0]) else first

    dtypes = {name: weights.dtypes[names[0]] for name, names in sources.items()}
    return Weights(weights.path, weights.format_name, shapes, dtypes, values)


def _rename(source: str) -> str:
    *modules, leaf = source.removesuffix(":0").replace("_._", ".").split("/")
    starts = [i for i, module in enumerate(modules) if module in _MODEL_PARTS]
    if not starts:
        return source
    return ".".join([*modules[starts[-1] :], _LEAVES.get(leaf, leaf)])


def _is_kernel(source: str) -> bool:
    return source.removesuffix(":0").endswith("/kernel")


def _shape(weights: Weights, source: str) -> tuple[int, ...]:
    shape = weights.shapes[source]
    return shape[::-1] if _is_kernel(source) else shape


def _dtype_or_defect(dataset: Any) -> str:
    """Return a dataset's dtype, or why it cannot be used as a weight. Keras stores all values in the file itself."""
    if dataset.is_virtual or dataset.external or dataset.id.get_storage_size() < dataset.nbytes:
        return "fewer values than its shape says"
    return str(dataset.dtype)
