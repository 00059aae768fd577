"""The state of a training: everything that the next step depends on, as the bytes of a safetensors file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load, save

if TYPE_CHECKING:
    from torch import Tensor

    from xlm_core.training.trainer import Trainer

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def encode_state(trainer: Trainer, **more: Any) -> bytes:
    """Encode the weights, the optimizer's moments, the average, and what was drawn.

    Args:
        trainer: between two steps.
        more: other values to keep, as JSON.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainer.parameters.items():
        tensors[f"weights.{name}"] = parameter.detach()
        moments = trainer.optimizer.state.get(parameter, {})
        tensors |= {f"{key}.{name}": moments[key] for key in _MOMENTS if key in moments}
    if trainer.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in trainer.average.values.items()}
    values = {
        "step": trainer.step,
        "num_steps": trainer.num_steps,
        "drawn": {name: drawn.tolist() for name, drawn in trainer.drawn.items()},
        "more": more,
    }
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, {"training": json.dumps(values)})


def restore_state(trainer: Trainer, data: bytes) -> dict[str, Any]:
    """Restore an encoded state, and return the other values that were kept with it."""
    tensors = load(data)
    for name, parameter in trainer.parameters.items():
        parameter.data.copy_(tensors[f"weights.{name}"])
        moments = {key: tensors[f"{key}.{name}"] for key in _MOMENTS if f"{key}.{name}" in tensors}
        trainer.optimizer.state.pop(parameter, None)
        if moments:
            device = parameter.device
            trainer.optimizer.state[parameter] = {key: tensor.to(device) for key, tensor in moments.items()}
    if trainer.average is not None:
        for name, value in trainer.average.values.items():
            value.copy_(tensors[f"average.{name}"])
    values = read_values(data)
    trainer.step, trainer.num_steps = values["step"], values["num_steps"]
    trainer.drawn = {name: np.array(drawn, np.int64) for name, drawn in values["drawn"].items()}
    return values["more"]


def read_values(data: bytes) -> dict[str, Any]:
    """Return the values of an encoded state, without its tensors."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["training"])
