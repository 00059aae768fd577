"""What the workers of a training exchange: sums over all of them.

Without a process group of torch.distributed, there is one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

_BUCKET_VALUES = 1 << 26  # 256 MB of float32


def num_workers() -> int:
    """Return the number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def worker_index() -> int:
    """Return the index of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Sum a tensor over all workers, in place."""
    if num_workers() > 1:
        dist.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients of parameters of one type over all workers, in place; many small ones in one message.

    A parameter that no worker has a gradient of, such as that of a head that was not run, keeps none: the optimizer
    would change it even if its gradient were zero.
    """
    if num_workers() == 1:
        return
    has_gradient = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    bucket: list[Tensor] = []
    num_values = 0
    for parameter, num_gradients in zip(parameters, sum_over_workers(has_gradient).tolist(), strict=True):
        if not num_gradients:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if bucket and num_values + parameter.numel() > _BUCKET_VALUES:
            _sum_bucket(bucket)
            bucket, num_values = [], 0
        bucket.append(parameter.grad)
        num_values += parameter.numel()
    if bucket:
        _sum_bucket(bucket)


def _sum_bucket(tensors: Sequence[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view_as(tensor))
